"use strict";
// Real sums as docs/format.md defines them: exact, then rounded to float64, then to float32.

function norm(numbers) {
  let sum = 0;
  for (let k = 0; k < numbers.length; k++) sum += numbers[k] * numbers[k];
  return Math.sqrt(sum);
}

/** The float32 of a sum that is known up to an error, of its terms where that leaves more than one. */
function settled(sum, error, terms) {
  const low = Math.fround(sum - error);
  if (low === Math.fround(sum + error) || !Number.isFinite(error)) return Math.fround(sum);
  return Math.fround(nearest(terms()));
}

/** The float64 nearest to the exact sum. Few float32 often lie in the middle of two, with a sum of which nothing is lost. */
function nearest(terms) {
  let sum = 0;
  for (let k = 0; k < terms.length; k++) { // Knuth's two-sum: what an addition has lost
    const term = terms[k], longer = sum + term, part = longer - sum;
    if ((sum - (longer - part)) + (term - part) !== 0) return exactSum(terms);
    sum = longer;
  }
  return sum;
}

/** The float64 nearest to the exact sum: Shewchuk's expansions, as Python's math.fsum. */
function exactSum(terms) {
  const parts = [];
  for (let x of terms) {
    let count = 0;
    for (let y of parts) {
      if (Math.abs(x) < Math.abs(y)) [x, y] = [y, x];
      const high = x + y, low = y - (high - x);
      if (low !== 0) parts[count++] = low;
      x = high;
    }
    parts.length = count;
    parts.push(x);
  }
  let n = parts.length - 1, high = n < 0 ? 0 : parts[n], low = 0;
  while (n > 0 && low === 0) {
    const x = high, y = parts[--n];
    high = x + y;
    low = y - (high - x);
  }
  if (n > 0 && low !== 0 && low < 0 === parts[n - 1] < 0) { // in the middle of two, and more on the same side behind it
    const further = high + 2 * low;
    if (2 * low === further - high) return further;
  }
  return high;
}
