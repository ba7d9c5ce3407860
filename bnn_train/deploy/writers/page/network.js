"use strict";
// The network: reads an exported file and computes it as docs/format.md defines it. Knows no page: it runs in a worker too.
// A value of one image is {kind, shape, data}: bytes Uint8Array, bits Int8Array of -1 and +1, whole Int32Array, real Float32Array.

const TYPES = { U8: Uint8Array, I16: Int16Array, I32: Int32Array, F32: Float32Array };
const NUMBERS = { bytes: Uint8Array, bits: Int8Array, whole: Int32Array, real: Float32Array };

/** Bytes of an exported file; known: [kind, shape] of each value. run(pixels) gives all values, the image first, scores last. */
function readNetwork(file, known) {
  const start = 8 + new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start)));
  const network = JSON.parse(header.__metadata__.bnn_train);
  const values = known.map(([kind, shape]) => ({ kind, shape, size: product(shape) }));
  const operations = network.operations.map((operation) => ({ ...operation, tensors: {} }));
  delete header.__metadata__;
  for (const [key, { dtype, data_offsets: [begin, end] }] of Object.entries(header)) {
    const dot = key.indexOf(".");
    operations[key.slice(0, dot)].tensors[key.slice(dot + 1)] = new TYPES[dtype](file.slice(start + begin, start + end).buffer);
  }
  const steps = operations.map((operation, i) =>
    MAKERS[operation.kind](operation.tensors, operation.settings, values[i + 1], ...operation.inputs.map((x) => values[x])));
  return {
    operations, values, about: network.about, imageShape: network.image_shape,
    run(pixels) {
      const found = [pixels];
      operations.forEach(({ inputs }, i) => found.push(steps[i](...inputs.map((x) => found[x]))));
      return found;
    },
    scores(pixels) { return Float32Array.from(this.run(pixels).at(-1)); },
  };
}

/** Of a binary first layer on the pixels: its units that are most surely +1, and as many most surely -1, with their weights. */
function surest(network, values, count) {
  const at = network.operations.findIndex(({ kind }) => kind === "linear" || kind === "conv2d"), layer = network.operations[at];
  const sign = network.operations.find(({ kind, inputs }) => kind === "sign" && inputs[0] === at + 1);
  if (!sign || layer.kind !== "linear" || network.values[layer.inputs[0]].kind !== "bytes" || layer.tensors.weight instanceof Float32Array) return [];
  const inputs = network.values[layer.inputs[0]].size, { threshold, flip } = sign.tensors, sums = values[at + 1];
  network.firstWeights ||= weightsOf(layer.tensors, layer.settings.outputs, inputs);
  const sure = Array.from(sums, (sum, o) => (sum - threshold[o]) * (flip && bitOf(flip, o) ? -1 : 1));
  const order = Array.from(sums.keys()).sort((a, b) => sure[b] - sure[a]), some = Math.min(count, order.length >> 1);
  return [...order.slice(0, some), ...order.slice(order.length - some)]
    .map((o) => ({ above: sure[o] >= 0, weights: network.firstWeights.slice(o * inputs, (o + 1) * inputs) }));
}

const product = (shape) => shape.reduce((a, b) => a * b, 1);
const bitOf = (bytes, place) => (bytes[place >> 3] >> (7 - (place & 7))) & 1;

// ---- linear and conv2d: a linear layer is a convolution of one place

/** The weights, Int8Array (outputs * inputs) of -1, 0 where pruned, +1; or Float32Array. */
function weightsOf(tensors, outputs, inputs) {
  if (tensors.weight instanceof Float32Array) return tensors.weight;
  const weights = new Int8Array(outputs * inputs), row = (inputs + 7) >> 3;
  if (tensors.gaps) { // pruned: only connected edges have a sign
    let place = -1, edge = 0;
    for (const gap of tensors.gaps) {
      place += gap;
      if (gap < 255) weights[++place] = 2 * bitOf(tensors.signs, edge++) - 1;
    }
    return weights;
  }
  for (let o = 0, place = 0, edge = 0; o < outputs; o++) {
    for (let k = 0; k < inputs; k++, place++) {
      if (!tensors.mask) weights[place] = 2 * bitOf(tensors.weight, o * row * 8 + k) - 1;
      else if (bitOf(tensors.mask, o * row * 8 + k)) weights[place] = 2 * bitOf(tensors.signs, edge++) - 1;
    }
  }
  return weights;
}

function linear(tensors, { outputs }, result, x) {
  const settings = { outputs, kernel: [1, 1], stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, pad_value: 0 };
  return conv2d(tensors, settings, { ...result, shape: [outputs, 1, 1] }, { ...x, shape: [x.size, 1, 1] });
}

function conv2d(tensors, settings, result, x) {
  const inputs = x.shape[0] / settings.groups * settings.kernel[0] * settings.kernel[1];
  const weights = weightsOf(tensors, settings.outputs, inputs);
  if (result.kind === "real") return realProducts(weights, tensors.bias, settings, result, x, inputs);
  const offset = tensors.offset || new Int32Array(settings.outputs);
  return (x.kind === "bits" ? bitProducts : pixelProducts)(weights, offset, settings, result, x, inputs);
}

/** Calls take(row, column, kernel place, place of the pixel or -1 outside the image) for all of a result's places, by row. */
function places({ kernel: [kh, kw], stride, padding, dilation }, [, rows, columns], [, height, width], each) {
  const under = new Int32Array(kh * kw);
  for (let r = 0, place = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++, place++) {
      for (let i = 0, k = 0; i < kh; i++) {
        const y = r * stride[0] - padding[0] + i * dilation[0];
        for (let j = 0; j < kw; j++, k++) {
          const z = c * stride[1] - padding[1] + j * dilation[1];
          under[k] = y >= 0 && y < height && z >= 0 && z < width ? y * width + z : -1;
        }
      }
      each(place, under);
    }
  }
}

/** -1 and +1 as bits, 32 in a word: the sum of n products is n - 2 * (number of bits that differ). */
function bitProducts(weights, offset, settings, result, x, inputs) {
  const { outputs, groups, pad_value: pad } = settings, taps = settings.kernel[0] * settings.kernel[1];
  const channels = x.shape[0] / groups, words = (channels + 31) >> 5, pixels = x.shape[1] * x.shape[2];
  const row = taps * words, grid = result.shape[1] * result.shape[2], each = outputs / groups;
  const bits = new Int32Array(outputs * row), mask = new Int32Array(outputs * row), connected = new Int32Array(outputs);
  let pruned = false;
  for (let o = 0, place = 0; o < outputs; o++) {
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < taps; k++, place++) {
        const word = o * row + k * words + (c >> 5), weight = weights[place];
        if (weight > 0) bits[word] |= 1 << (c & 31);
        if (weight) { mask[word] |= 1 << (c & 31); connected[o]++; } else pruned = true;
      }
    }
  }
  const around = new Int32Array(words); // what lies outside the image
  if (pad > 0) for (let c = 0; c < channels; c++) around[c >> 5] |= 1 << (c & 31);
  const packed = new Int32Array(pixels * words), patch = new Int32Array(row), inside = new Int32Array(row);
  return (data) => {
    const sums = new Int32Array(result.size);
    for (let g = 0; g < groups; g++) {
      packed.fill(0);
      for (let c = 0, place = g * channels * pixels; c < channels; c++) {
        for (let p = 0, word = c >> 5; p < pixels; p++, word += words) if (data[place++] > 0) packed[word] |= 1 << (c & 31);
      }
      places(settings, result.shape, x.shape, (at, under) => {
        let whole = !pruned;
        for (let k = 0; k < taps; k++) {
          const outside = under[k] < 0, empty = outside && pad === 0;
          if (empty) whole = false;
          for (let w = 0; w < words; w++) {
            patch[k * words + w] = outside ? around[w] : packed[under[k] * words + w];
            inside[k * words + w] = empty ? 0 : -1;
          }
        }
        for (let o = g * each; o < (g + 1) * each; o++) {
          const from = o * row;
          if (whole) sums[o * grid + at] = offset[o] + inputs - 2 * differing(patch, bits, from, row);
          else sums[o * grid + at] = offset[o] + maskedSum(patch, bits, mask, inside, from, row);
        }
      });
    }
    return sums;
  };
}

/** How many bits differ; counted within bytes, which hold the counts of 31 words. */
function differing(patch, bits, from, row) {
  let total = 0;
  for (let k = 0; k < row;) {
    const end = Math.min(row, k + 31);
    let counts = 0;
    for (; k < end; k++) {
      let v = patch[k] ^ bits[from + k];
      v -= (v >>> 1) & 0x55555555;
      v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
      counts = (counts + ((v + (v >>> 4)) & 0x0f0f0f0f)) | 0;
    }
    counts = (counts & 0x00ff00ff) + ((counts >>> 8) & 0x00ff00ff);
    total += (counts & 0xffff) + (counts >>> 16);
  }
  return total;
}

function popcount(v) {
  v -= (v >>> 1) & 0x55555555;
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function maskedSum(patch, bits, mask, inside, from, row) {
  let sum = 0;
  for (let k = 0; k < row; k++) {
    const counted = mask[from + k] & inside[k];
    sum += popcount(counted) - 2 * popcount((patch[k] ^ bits[from + k]) & counted);
  }
  return sum;
}

/** Calls each(group, place, patch) with what lies under the kernel, in the order (channel, kernel row, kernel column). */
function patches(settings, result, x, data, patch, each) {
  const channels = x.shape[0] / settings.groups, pixels = x.shape[1] * x.shape[2];
  for (let g = 0; g < settings.groups; g++) {
    places(settings, result.shape, x.shape, (at, under) => {
      for (let c = 0, k = 0, plane = g * channels * pixels; c < channels; c++, plane += pixels) {
        for (let i = 0; i < under.length; i++) patch[k++] = under[i] < 0 ? settings.pad_value : data[plane + under[i]];
      }
      each(g, at);
    });
  }
}

/** Binary weights times pixels: whole numbers below 2^29. */
function pixelProducts(weights, offset, settings, result, x, inputs) {
  const grid = result.shape[1] * result.shape[2], each = settings.outputs / settings.groups, patch = new Int32Array(inputs);
  return (data) => {
    const sums = new Int32Array(result.size);
    patches(settings, result, x, data, patch, (g, at) => {
      for (let o = g * each; o < (g + 1) * each; o++) {
        let sum = offset[o];
        for (let k = 0, w = o * inputs; k < inputs; k++, w++) sum = (sum + Math.imul(weights[w], patch[k])) | 0;
        sums[o * grid + at] = sum;
      }
    });
    return sums;
  };
}

/** Sums in float64; where their error could change the float32 that comes out, they are made again exactly. */
function realProducts(weights, bias, settings, result, x, inputs) {
  const grid = result.shape[1] * result.shape[2], each = settings.outputs / settings.groups, patch = new Float64Array(inputs);
  const numbers = Float32Array.from(weights), norms = new Float64Array(settings.outputs);
  for (let o = 0; o < settings.outputs; o++) norms[o] = norm(numbers.subarray(o * inputs, (o + 1) * inputs));
  return (data) => {
    const sums = new Float32Array(result.size);
    patches(settings, result, x, data, patch, (g, at) => {
      const size = norm(patch), end = (g + 1) * each;
      for (let o = g * each; o < end; o += 4) { // four at a time: one addition does not wait for the one before it
        const a = o * inputs, b = o + 1 < end ? a + inputs : a, c = o + 2 < end ? b + inputs : a, d = o + 3 < end ? c + inputs : a;
        const four = [0, 0, 0, 0];
        let s = 0, t = 0, u = 0, v = 0;
        for (let k = 0; k < inputs; k++) {
          const number = patch[k];
          s += number * numbers[a + k]; t += number * numbers[b + k]; u += number * numbers[c + k]; v += number * numbers[d + k];
        }
        four[0] = s; four[1] = t; four[2] = u; four[3] = v;
        for (let p = o; p < o + 4 && p < end; p++) {
          const sum = bias ? four[p - o] + bias[p] : four[p - o];
          const error = (size * norms[p] + Math.abs(sum)) * (inputs + 4) * 2 ** -53; // Cauchy's inequality bounds sum |x w|
          sums[p * grid + at] = settled(sum, error, () => {
            const terms = bias ? [bias[p]] : [];
            for (let k = 0; k < inputs; k++) terms.push(patch[k] * numbers[p * inputs + k]);
            return terms;
          });
        }
      }
    });
    return sums;
  };
}

function norm(numbers) {
  let sum = 0;
  for (let k = 0; k < numbers.length; k++) sum += numbers[k] * numbers[k];
  return Math.sqrt(sum);
}

/** The float32 of a sum that is known up to an error, of its terms where that leaves more than one. */
function settled(sum, error, terms) {
  const low = Math.fround(sum - error);
  if (low === Math.fround(sum + error) || !Number.isFinite(error)) return Math.fround(sum);
  return Math.fround(exactSum(terms()));
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

// ---- the others

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
  max_pool: maxPool,
  avg_pool: avgPool,
  add: pair((a, b) => a + b),
  multiply: pair((a, b) => a * b),
  flatten: () => (data) => data,
};
