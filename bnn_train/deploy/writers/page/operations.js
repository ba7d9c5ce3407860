"use strict";
// Operations without weights of their own; and which function makes the step of each kind of operation.

const perChannel = (result, of) => (...inputs) => {
  const found = new NUMBERS[result.kind](result.size), pixels = result.size / result.shape[0];
  for (let c = 0, place = 0; c < result.shape[0]; c++) {
    for (let p = 0; p < pixels; p++, place++) found[place] = of(inputs[0][place], c);
  }
  return found;
};

function sign({ threshold, flip }, _, result) {
  const above = Int8Array.from(threshold, (_, c) => (flip && bitOf(flip, c) ? -1 : 1));
  return perChannel(result, (x, c) => (x >= threshold[c] ? above[c] : -above[c]));
}

function sigmoid(_, __, result) {
  return perChannel(result, (x) => {
    const small = Math.exp(-Math.abs(x));
    return (x >= 0 ? 1 : small) / (1 + small);
  });
}

/** Calls each(place of the result, plane, rows of the window, its columns, all inside the image, and their number to divide by). */
function windows({ kernel, stride, padding, count_padding: all }, result, x, each) {
  const [, rows, columns] = result.shape, [channels, ...size] = x.shape;
  const spans = (axis, count) => Array.from({ length: count }, (_, place) => {
    const begin = place * stride[axis] - padding[axis], end = Math.min(begin + kernel[axis], size[axis] + padding[axis]);
    const from = Math.max(begin, 0), to = Math.min(end, size[axis]);
    return [from, to, all ? end - begin : to - from];
  });
  const down = spans(0, rows), right = spans(1, columns);
  for (let c = 0, place = 0; c < channels; c++) {
    for (const [top, bottom, high] of down) {
      for (const [left, end, wide] of right) each(place++, c * size[0] * size[1], top, bottom, left, end, high * wide);
    }
  }
}

function maxPool(_, settings, result, x) {
  const width = x.shape[2];
  return (data) => {
    const found = new NUMBERS[result.kind](result.size);
    windows(settings, result, x, (place, plane, top, bottom, left, right) => {
      let largest = -Infinity;
      for (let r = top; r < bottom; r++) {
        for (let c = left, p = plane + r * width + left; c < right; c++, p++) if (data[p] > largest) largest = data[p];
      }
      found[place] = largest;
    });
    return found;
  };
}

function avgPool(_, settings, result, x) {
  const width = x.shape[2];
  return (data) => {
    const found = new Float32Array(result.size);
    windows(settings, result, x, (place, plane, top, bottom, left, right, count) => {
      const terms = [];
      let sum = 0, sizes = 0;
      for (let r = top; r < bottom; r++) {
        for (let c = left, p = plane + r * width + left; c < right; c++, p++) {
          terms.push(data[p]);
          sum += data[p];
          sizes += Math.abs(data[p]);
        }
      }
      found[place] = settled(sum, sizes * terms.length * 2 ** -53, () => terms) / count;
    });
    return found;
  };
}

/** Two values, of which a dimension of 1 is repeated. */
function pair(of) {
  return (_, __, result, x, y) => {
    const index = (shape) => {
      const found = new Int32Array(result.size);
      for (let place = 0; place < result.size; place++) {
        let rest = place, step = 1;
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          if (shape[axis] > 1) found[place] += (rest % result.shape[axis]) * step;
          step *= shape[axis];
          rest = Math.floor(rest / result.shape[axis]);
        }
      }
      return found;
    };
    const first = index(x.shape), second = index(y.shape);
    return (a, b) => {
      const found = new Float32Array(result.size);
      for (let place = 0; place < result.size; place++) {
        found[place] = of(Math.fround(a[first[place]]), Math.fround(b[second[place]]));
      }
      return found;
    };
  };
}

function concatenate(_, __, result) {
  return (...parts) => {
    const found = new NUMBERS[result.kind](result.size);
    let place = 0;
    for (const part of parts) {
      found.set(part, place);
      place += part.length;
    }
    return found;
  };
}

function slice(_, { start }, result) {
  const from = start * (result.size / result.shape[0]);
  return (data) => data.subarray(from, from + result.size);
}

function pad(_, { rows: [top], columns: [left], pad_value: value }, result, x) {
  const [channels, height, width] = x.shape, [, rows, columns] = result.shape;
  return (data) => {
    const found = new NUMBERS[result.kind](result.size).fill(value);
    for (let c = 0; c < channels; c++) {
      for (let r = 0; r < height; r++) {
        const from = (c * height + r) * width;
        found.set(data.subarray(from, from + width), (c * rows + top + r) * columns + left);
      }
    }
    return found;
  };
}

const MAKERS = {
  linear, conv2d, sign, sigmoid, concatenate, slice, pad,
  normalise: ({ table }, _, result) => perChannel(result, (x, c) => table[256 * c + x]),
  affine: ({ scale, shift }, _, result) => perChannel(result, (x, c) => scale[c] * x + shift[c]),
  relu: (_, __, result) => perChannel(result, (x) => Math.max(x, 0)),
  prelu: ({ slope }, _, result) => perChannel(result, (x, c) => (x > 0 ? x : slope[c] * Math.fround(x))),
  clamp: ({ limits: [low, high] }, _, result) => perChannel(result, (x) => Math.min(Math.max(x, low), high)),
  max_pool: maxPool,
  avg_pool: avgPool,
  add: pair((a, b) => a + b),
  multiply: pair((a, b) => a * b),
  flatten: () => (data) => data,
};
