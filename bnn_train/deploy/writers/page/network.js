"use strict";
// The network: reads an exported file and computes it as docs/format.md defines it, with sums.js and operations.js. It knows no
// page, for it runs in a worker too.
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
    operations, steps, values, about: network.about, imageShape: network.image_shape,
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
  const x = layer && network.values[layer.inputs[0]];
  if (!sign || layer.kind !== "linear" || x.kind !== "bytes" || layer.tensors.weight instanceof Float32Array) return [];
  const inputs = x.size, { threshold, flip } = sign.tensors, sums = values[at + 1];
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
            const terms = new Float64Array(inputs + 1);
            for (let k = 0; k < inputs; k++) terms[k] = patch[k] * numbers[p * inputs + k];
            if (bias) terms[inputs] = bias[p];
            return terms;
          });
        }
      }
    });
    return sums;
  };
}
