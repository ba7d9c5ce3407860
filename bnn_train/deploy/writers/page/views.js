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
    score.textContent = scores ? scores[k].toFixed(2).replace("-", "−") : "";
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

/** A canvas of `count` tiles, drawn by each(context, k, left, top). scale: of a tile's pixel, as gap in those of the screen. */
function tiled(count, columns, [wide, high], scale, gap, caption, label, each) {
  const step = [wide * scale + gap, high * scale + gap];
  const [found, context, canvas] = figure(columns * step[0] - gap, Math.ceil(count / columns) * step[1] - gap, caption, label);
  canvas.style.width = `${canvas.width / density()}px`;
  for (let k = 0; k < count; k++) each(context, k, (k % columns) * step[0], Math.floor(k / columns) * step[1]);
  return found;
}

const density = () => Math.min(3, window.devicePixelRatio || 1);

/** How many tiles of that many screen pixels lie side by side. */
function columnsOf(count, size, gap, room) {
  const most = Math.max(1, Math.min(count, Math.floor((room * density() + gap) / (size + gap))));
  return most > 8 ? most - (most % 8) : most;
}

/** Numbers as squares: signs in two colours, others in shades of one. */
function mapFigure({ name, kind, shape, data }, room) {
  const isImage = shape.length === 3, [channels, high, wide] = isImage ? shape : [shape[0], 1, 1];
  const shown = isImage ? Math.min(channels, MOST_MAPS) : channels, gap = Math.round((isImage ? 5 : 1.4) * density());
  let columns = 2 ** Math.ceil(Math.log2(Math.sqrt(shown))), scale = Math.max(1, Math.round(((room < 480 ? 38 : 56) * density()) / wide));
  if (isImage) columns = columnsOf(shown, wide * scale, gap, room);
  else scale = Math.max(1, Math.min(Math.round(12 * density()), Math.floor((room * density() + gap) / columns) - gap));
  const plus = data.reduce((sum, x) => sum + (x > 0), 0), what = kind === "bits" ? "signs" : "numbers";
  const much = channels.toLocaleString("en");
  const caption = isImage ? `${name}: ${much} maps of ${wide} × ${high} ${what}` : `${name}: ${much} ${what}`;
  let largest = 1;
  if (kind !== "bits") for (const x of data) largest = Math.max(largest, Math.abs(x));
  const above = colour("--plus"), below = colour("--minus"), label = `${caption}, ${plus} of ${data.length} above 0`;
  const more = shown < channels ? `${caption}, ${shown} of them shown` : caption;
  return tiled(shown, columns, [wide, high], scale, gap, more, label, (context, k, left, top) => {
    context.globalAlpha = 1;
    context.fillStyle = below;
    context.fillRect(left, top, wide * scale, high * scale);
    context.fillStyle = above;
    for (let y = 0, p = k * wide * high; y < high; y++) {
      for (let x = 0; x < wide; x++, p++) {
        context.globalAlpha = Math.max(0, data[p]) / largest;
        if (data[p] > 0) context.fillRect(left + x * scale, top + y * scale, scale, scale);
      }
    }
  });
}

/** What units of the first layer add up: the pixels, in one colour where their weight is +1, in another where it is -1. */
function unitsFigure(units, pixels, [channels, high, wide], name, room) {
  const gap = Math.round(6 * density()), scale = Math.max(1, Math.round((66 * density()) / wide));
  const half = units.length / 2, columns = Math.min(half, columnsOf(units.length, wide * scale, gap, room));
  const colours = [colour("--for"), colour("--against")];
  const caption = `${name} adds what is green and takes away what is orange: ${half} units that are surely +1, ${half} surely −1`;
  return tiled(units.length, columns, [wide, high], scale, gap, caption, "", (context, k, left, top) => {
    context.globalAlpha = 1;
    context.fillStyle = colour("--paper");
    context.fillRect(left, top, wide * scale, high * scale);
    for (let p = 0; p < wide * high; p++) {
      let pixel = 0, sum = 0;
      for (let c = 0; c < channels; c++) {
        pixel += pixels[c * wide * high + p] / channels;
        sum += units[k].weights[c * wide * high + p];
      }
      if (!sum) continue;
      context.globalAlpha = (0.14 + (0.86 * pixel) / 255) * Math.abs(sum / channels);
      context.fillStyle = colours[sum > 0 ? 0 : 1];
      context.fillRect(left + (p % wide) * scale, top + Math.floor(p / wide) * scale, scale, scale);
    }
  });
}

/** The pixels with what the first layer does to them, below these the signs. */
function showMaps({ pixels, units }, imageShape, maps) {
  const wide = $("maps").clientWidth, beside = wide > 560 ? wide - 144 - 32 : wide, first = pixelFigure(pixels, imageShape);
  const group = (...parts) => {
    const found = document.createElement("div");
    found.append(...parts);
    return found;
  };
  if (units.length) {
    const room = wide > 560 ? (wide - 32 * (maps.length - 1)) / maps.length : wide;
    const parts = maps.map((map) => mapFigure(map, room));
    $("maps").replaceChildren(group(first, unitsFigure(units, pixels, imageShape, maps[0].name, beside)), group(...parts));
  } else {
    $("maps").replaceChildren(group(first, group(...maps.map((map) => mapFigure(map, beside)))));
  }
}
