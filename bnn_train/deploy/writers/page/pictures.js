"use strict";
// Pictures as the network was trained on them. resized() and cropped() are Pillow's resize and ImageOps.fit, to the byte.
// A picture is {width, height, channels, data}: Uint8 (Clamped) numbers, rows of pixels, a pixel's channels side by side.

const BACKGROUND = 128; // behind what is transparent, and beside what is padded

function bicubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/** For each of `size` places which of the `whole` pixels between low and high it is made of: [first, their weights of 22 bits]. */
function weights(whole, low, high, size) {
  const scale = Math.fround(high - low) / size, wide = Math.max(scale, 1), support = 2 * wide;
  return Array.from({ length: size }, (_, place) => {
    const middle = low + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - support + 0.5)), end = Math.min(whole, Math.trunc(middle + support + 0.5));
    const found = new Float64Array(end - first);
    let sum = 0;
    for (let k = 0; k < found.length; k++) {
      found[k] = bicubic((k + first - middle + 0.5) * (1 / wide));
      sum += found[k];
    }
    return [first, Int32Array.from(found, (weight) => {
      const share = weight / sum;
      return Math.trunc(share * 2 ** 22 + (share < 0 ? -0.5 : 0.5));
    })];
  });
}

function across({ width, height, channels: n, data }, spans) {
  const found = new Uint8Array(spans.length * height * n);
  spans.forEach(([first, shares], place) => {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < n; c++) {
        let sum = 2 ** 21;
        for (let k = 0, at = (y * width + first) * n + c; k < shares.length; k++, at += n) sum += data[at] * shares[k];
        found[(y * spans.length + place) * n + c] = byte(sum);
      }
    }
  });
  return { width: spans.length, height, channels: n, data: found };
}

function down({ width, channels: n, data }, spans) {
  const row = width * n, found = new Uint8Array(spans.length * row);
  spans.forEach(([first, shares], place) => {
    for (let x = 0; x < row; x++) {
      let sum = 2 ** 21;
      for (let k = 0, at = first * row + x; k < shares.length; k++, at += row) sum += data[at] * shares[k];
      found[place * row + x] = byte(sum);
    }
  });
  return { width, height: spans.length, channels: n, data: found };
}

const byte = (sum) => Math.min(255, Math.max(0, sum >> 22));

/** The part [left, top, right, bottom] of a picture, of width x height pixels. tallFirst: Pillow from 13 on begins with the height
 * where it shrinks more than twice as much as the width. */
function resized(picture, width, height, box, tallFirst) {
  const { width: w, height: h, channels: n, data } = picture, [left, top, right, bottom] = box.map(Math.fround);
  const wide = width !== w || left || right !== width ? weights(w, left, right, width) : null;
  const high = height !== h || top || bottom !== height ? weights(h, top, bottom, height) : null;
  if (tallFirst && h > height && h - height > 2 * (w - width)) {
    const between = high ? down(picture, high) : picture;
    return wide ? across(between, wide) : between;
  }
  if (!wide || !high) return wide ? across(picture, wide) : high ? down(picture, high) : picture;
  const first = high[0][0], rows = high[height - 1][0] + high[height - 1][1].length - first; // the rows that count alone
  const part = { width: w, height: rows, channels: n, data: data.subarray(first * w * n, (first + rows) * w * n) };
  return down(across(part, wide), high.map(([from, shares]) => [from - first, shares]));
}

/** Of that width and height as data.fit says: crop, pad or stretch. */
function fitted(picture, width, height, fit, tallFirst) {
  const { width: w, height: h } = picture;
  if (w === width && h === height) return picture;
  if (fit === "stretch") return resized(picture, width, height, [0, 0, w, h], tallFirst);
  return (fit === "pad" ? padded : cropped)(picture, width, height, tallFirst);
}

/** Whole, in the middle of a grey ground. */
function padded(picture, width, height, tallFirst) {
  const { width: w, height: h, channels: n } = picture;
  const side = (mine, other, room) => Math.max(1, Math.floor((2 * mine * room + other) / (2 * other)));
  const [wide, high] = w * height >= h * width ? [width, side(h, w, width)] : [side(w, h, height), height];
  const { data } = resized(picture, wide, high, [0, 0, w, h], tallFirst), found = new Uint8Array(width * height * n).fill(BACKGROUND);
  const left = Math.floor((width - wide) / 2), top = Math.floor((height - high) / 2);
  for (let y = 0; y < high; y++) found.set(data.subarray(y * wide * n, (y + 1) * wide * n), ((top + y) * width + left) * n);
  return { width, height, channels: n, data: found };
}

/** Cropped around its middle to the proportions of width and height, and resized to them. */
function cropped(picture, width, height, tallFirst) {
  const { width: w, height: h } = picture, has = w / h, wanted = width / height;
  const wide = has > wanted ? wanted * h : w, high = has < wanted ? w / wanted : h;
  const left = (w - wide) * 0.5, top = (h - high) * 0.5;
  return resized(picture, width, height, [left, top, left + wide, top + high], tallFirst);
}

/** RGBA numbers over grey, as one channel (Pillow's L) or three. */
function opaque({ width, height, data }, channels) {
  const found = new Uint8Array(width * height * channels);
  for (let p = 0, q = 0; p < data.length; p += 4) {
    const alpha = data[p + 3];
    let r = data[p], g = data[p + 1], b = data[p + 2];
    if (alpha < 255) { r = over(r, alpha); g = over(g, alpha); b = over(b, alpha); }
    if (channels === 1) found[q++] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
    else { found[q++] = r; found[q++] = g; found[q++] = b; }
  }
  return { width, height, channels, data: found };
}

/** A number over the background, as Pillow's alpha_composite reckons it. */
function over(x, alpha) {
  const share = alpha * 128, sum = x * share + BACKGROUND * (255 * 128 - share) + (0x80 << 7);
  return ((sum >> 8) + sum) >> 8 >> 7;
}

/** The network's pixels (channels, height, width) of a picture that has its size. */
function planes({ channels, data }) {
  if (channels === 1) return Uint8Array.from(data);
  const size = data.length / channels;
  return Uint8Array.from(data, (_, place) => data[(place % size) * channels + Math.floor(place / size)]);
}

/** The RGBA picture of a file, upright as its orientation tag says. */
async function decoded(file) {
  const plain = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, plain);
  const { width, height } = bitmap, canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let clear = false;
  for (let p = 3; p < data.length && !clear; p += 4) clear = data[p] < 255;
  return { width, height, data: (clear && unmultiplied(bitmap)) || data };
}

/** The same numbers where some are transparent: a canvas keeps colours times alpha, WebGL takes them as they are in the file. */
function unmultiplied(bitmap) {
  const { width, height } = bitmap, gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const data = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  return gl.getError() ? null : data;
}

// ---- drawn digits: strokes are lists of points, [x, y] from 0 to 1; they are drawn anew in the size of the data set's digits,
// so that a small digit's lines are no thicker than a large one's

const FINE = 8; // so many times finer than the pixels
const DRAWN = {
  mnist: { side: 28, width: 20, height: 20, line: 2.4 }, // the box that the ink fills, the width of a line
  kmnist: { side: 28, width: 26, height: 26, line: 2.2 },
  // Every digit fills the height, is narrower than it is high, and all have as much ink, as the means of the data set have.
  digits: { side: 32, width: 18, height: 32, line: 4.8, fills: true, ink: 312 },
};

/** The network's pixels of strokes, made as the data set's digits are. */
function digit(strokes, name) {
  const points = strokes.flat(), how = DRAWN[name];
  if (!points.length) return new Uint8Array(name === "digits" ? 64 : how.side ** 2);
  if (name === "digits") return counted(strokes, how);
  let bits = ink(placed(strokes, how, how.line), how.side, how.line);
  if (name === "mnist") { // the centre of mass is the image's centre
    const [x, y] = middle(bits, how.side);
    bits = ink(placed(strokes, how, how.line, Math.round(how.side / 2 - x), Math.round(how.side / 2 - y)), how.side, how.line);
  }
  return Uint8Array.from(bits, (share) => Math.round(255 * share));
}

/** 32 x 32 pixels of ink or none, counted in blocks of 4 x 4: 0 to 16, spread to 0 to 255 as data/digits.py does. */
function counted(strokes, how) {
  let line = how.line, bits = ink(placed(strokes, how, line), how.side, line);
  for (let again = 0; again < 3; again++) {
    line = Math.min(11, Math.max(3, (line * how.ink) / bits.reduce((sum, share) => sum + share, 0)));
    bits = ink(placed(strokes, how, line), how.side, line);
  }
  const blocks = new Float64Array(64);
  bits.forEach((share, p) => { if (share >= 0.5) blocks[(p >> 7) * 8 + ((p & 31) >> 2)]++; });
  return Uint8Array.from(blocks, (count) => Math.round((count * 255) / 16));
}

/** The strokes in pixels, in the middle of the image: as large as the box allows; their ink reaches half a line further. */
function placed(strokes, { side, width, height, fills }, line, right = 0, down = 0) {
  const ends = [0, 1].map((axis) => {
    const all = strokes.flatMap((stroke) => stroke.map((point) => point[axis]));
    return [Math.min(...all), Math.max(...all)];
  });
  const [wide, high] = ends.map(([low, up]) => Math.max(up - low, 1e-9));
  const room = (width - line) / wide, most = 4 * side; // so that a point stays one
  const y = Math.min((height - line) / high, most, fills ? most : room), x = Math.min(room, y);
  const [left, top] = [x, y].map((scale, axis) => (side - scale * (ends[axis][0] + ends[axis][1])) / 2);
  return strokes.map((stroke) => stroke.map((point) => [point[0] * x + left + right, point[1] * y + top + down]));
}

/** How much of each of side x side pixels lies under the strokes, 0 to 1. */
function ink(strokes, side, line) {
  const fine = side * FINE, context = new OffscreenCanvas(fine, fine).getContext("2d", { willReadFrequently: true });
  context.scale(FINE, FINE);
  context.lineWidth = line;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    for (const [x, y] of stroke) context.lineTo(x, y);
    context.lineTo(stroke.at(-1)[0], stroke.at(-1)[1] + 0.01); // a point is a dot
    context.stroke();
  }
  const { data } = context.getImageData(0, 0, fine, fine), found = new Float64Array(side * side);
  for (let y = 0, p = 3; y < fine; y++) {
    const row = Math.floor(y / FINE) * side;
    for (let x = 0; x < fine; x++, p += 4) found[row + Math.floor(x / FINE)] += data[p] / (255 * FINE ** 2);
  }
  return found;
}

function middle(bits, side) {
  let mass = 0, x = 0, y = 0;
  bits.forEach((share, p) => {
    mass += share;
    x += share * ((p % side) + 0.5);
    y += share * (Math.floor(p / side) + 0.5);
  });
  return [x / mass, y / mass];
}
