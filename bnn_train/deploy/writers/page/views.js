"use strict";
// What is seen: bars of the scores, the pixels that the network takes, maps of what its first layers made of them.

const MOST_BARS = 12; // more classes than these are shown by rank
const MOST_MAPS = 64;
const $ = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;

function probabilities(scores) {
  const largest = Math.max(...scores), shares = Array.from(scores, (score) => Math.exp(score - largest));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

/** Rows of the table, all classes' or those of the most probable; empty before the first image. */
function showScores(classes, scores) {
  const named = classes.length > MOST_BARS || classes.some((name) => name.length > 2), body = $("bars").tBodies[0];
  const shares = scores ? probabilities(scores) : classes.map(() => 0);
  let order = classes.map((_, k) => k);
  const ranked = order.slice().sort((a, b) => (scores ? scores[b] - scores[a] || a - b : 0));
  if (classes.length > MOST_BARS) order = ranked.slice(0, MOST_BARS);
  while (body.rows.length < order.length) body.append($("row").content.cloneNode(true));
  order.forEach((k, at) => {
    const [name, track, share, score] = body.rows[at].cells;
    body.rows[at].className = scores && k === ranked[0] ? "top" : "";
    name.textContent = name.title = classes[k];
    track.querySelector(".bar").style.width = `${100 * shares[k]}%`;
    share.textContent = scores ? percent(shares[k]) : "";
    score.textContent = scores ? scores[k].toFixed(2) : "";
  });
  $("bars").classList.toggle("named", named);
  const best = scores ? classes[ranked[0]] : "–";
  $("best").textContent = best;
  $("best").className = `${best.length > 4 ? "long" : ""} ${scores ? "" : "none"}`;
  $("sure").textContent = scores ? percent(shares[ranked[0]]) : "";
  return scores ? `${best}, ${percent(shares[ranked[0]])}` : "";
}

/** A figure with a canvas of that many pixels, and what is said below it. */
function figure(width, height, caption, label) {
  const found = $("figure").content.firstElementChild.cloneNode(true), canvas = found.querySelector("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.setAttribute("aria-label", label || caption);
  found.querySelector("figcaption").textContent = caption;
  return [found, canvas.getContext("2d"), canvas];
}

function pixelFigure(pixels, [channels, height, width]) {
  const [found, context, canvas] = figure(width, height, `${width} × ${height} pixels`, "The pixels that the network takes");
  const image = context.createImageData(width, height), size = width * height;
  for (let p = 0; p < size; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = pixels[(channels === 1 ? 0 : c) * size + p];
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  canvas.className = "pixels";
  return found;
}

/** Numbers as squares: signs in two colours, others in shades of these. */
function mapFigure({ name, kind, shape, data }, room) {
  const density = Math.min(3, window.devicePixelRatio || 1), isImage = shape.length === 3;
  const [channels, height, width] = isImage ? shape : [shape[0], 1, 1], shown = isImage ? Math.min(channels, MOST_MAPS) : channels;
  const across = isImage ? 52 : channels > 1024 ? 4 : 9; // of a map, or of a number
  const gap = Math.max(1, Math.round((isImage ? 5 : 1.5) * density));
  const scale = Math.max(1, Math.round((across * density - (isImage ? 0 : gap)) / width));
  let columns = Math.max(1, Math.min(shown, Math.floor((room * density + gap) / (width * scale + gap))));
  if (columns > 8) columns = isImage ? columns - (columns % 8) : 2 ** Math.floor(Math.log2(columns));
  const step = [width * scale + gap, height * scale + gap], rows = Math.ceil(shown / columns);
  const plus = data.reduce((sum, x) => sum + (x > 0), 0), what = kind === "bits" ? "signs" : "numbers";
  const caption = isImage ? `${name}: ${channels} maps of ${width} × ${height} ${what}` : `${name}: ${channels} ${what}`;
  const more = shown < channels ? `${caption}, ${shown} of them shown` : caption;
  const [found, context, canvas] = figure(columns * step[0] - gap, rows * step[1] - gap, more, `${caption}, ${plus} of ${data.length} above 0`);
  canvas.style.width = `${canvas.width / density}px`;
  let largest = 1;
  if (kind !== "bits") for (const x of data) largest = Math.max(largest, Math.abs(x));
  const above = colour("--plus"), below = colour("--minus");
  for (let k = 0, p = 0; k < shown; k++) {
    const left = (k % columns) * step[0], top = Math.floor(k / columns) * step[1];
    context.globalAlpha = 1;
    context.fillStyle = below;
    context.fillRect(left, top, width * scale, height * scale);
    context.fillStyle = above;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, p++) {
        if (!(data[p] > 0)) continue;
        context.globalAlpha = data[p] / largest;
        context.fillRect(left + x * scale, top + y * scale, scale, scale);
      }
    }
  }
  return found;
}

function showMaps(pixels, imageShape, maps) {
  const wide = $("maps").clientWidth, room = wide > 640 ? (wide - 144 - 72) / maps.length - 8 : wide;
  $("maps").replaceChildren(pixelFigure(pixels, imageShape), ...maps.map((map) => mapFigure(map, room)));
}
