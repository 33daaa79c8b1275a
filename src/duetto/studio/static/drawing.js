/** Draws what the service computed of a track: its waveform and its log-spectrogram, with their axes. */

const QUIETEST_DB = -75; // of what is shown, below the loudest
const HERTZ = [100, 300, 1000, 3000, 10000];
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200]; // s

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** The arrays of a picture as the API sends it. */
export function unpack(picture) {
  return {
    ...picture,
    extremes: new Int8Array(bytes(picture.extremes).buffer),
    levels: bytes(picture.levels),
  };
}

/** A canvas as many pixels large as it is on the screen. */
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  return canvas.getContext("2d");
}

/** `peak` is the sample value that fills the canvas. */
export function drawWaveform(canvas, { extremes, n_columns: nColumns }, colour, peak) {
  const context = prepare(canvas);
  const [width, height] = [canvas.width, canvas.height];
  context.fillStyle = colour;
  for (let x = 0; x < width; x++) {
    const first = Math.floor((x * nColumns) / width);
    const last = Math.max(first + 1, Math.floor(((x + 1) * nColumns) / width));
    let [low, high] = [0, 0];
    for (let column = first; column < last; column++) {
      low = Math.min(low, extremes[2 * column]);
      high = Math.max(high, extremes[2 * column + 1]);
    }
    const scale = height / (2 * peak);
    context.fillRect(x, height / 2 - high * scale, 1, Math.max(1, (high - low) * scale));
  }
}

/** `stops` are colours from quiet to loud; the loudest of `loudestDb` is the last. */
export function drawSpectrogram(canvas, picture, stops, loudestDb) {
  const { n_columns: nColumns, n_bands: nBands, levels, floor_db: floor, ceiling_db: ceiling } = picture;
  const table = colourTable(stops);
  const image = new ImageData(nColumns, nBands);
  const pixels = new Uint32Array(image.data.buffer);
  const step = (ceiling - floor) / 255;
  for (let band = 0; band < nBands; band++) {
    const row = (nBands - 1 - band) * nColumns;
    for (let column = 0; column < nColumns; column++) {
      const decibels = floor + step * levels[band * nColumns + column];
      const shade = 255 * (1 - (loudestDb - decibels) / -QUIETEST_DB);
      pixels[row + column] = table[Math.max(0, Math.min(255, Math.round(shade)))];
    }
  }
  const source = new OffscreenCanvas(nColumns, nBands);
  source.getContext("2d").putImageData(image, 0, 0);
  const context = prepare(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
}

/** The largest sample of a waveform. */
export const peakOf = ({ extremes }) =>
  extremes.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1);

/** The level in dB of the loudest part of a spectrogram. */
export function loudest({ levels, floor_db: floor, ceiling_db: ceiling }) {
  let most = 0;
  for (const level of levels) if (level > most) most = level;
  return floor + ((ceiling - floor) / 255) * most;
}

/** 256 colours between the stops, as pixels. */
function colourTable(stops) {
  const colours = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, shade) => {
    const place = (shade / 255) * (colours.length - 1);
    const index = Math.min(Math.floor(place), colours.length - 2);
    const [red, green, blue] = colours[index].map((value, part) =>
      Math.round(value + (place - index) * (colours[index + 1][part] - value)),
    );
    return (255 << 24) | (blue << 16) | (green << 8) | red;
  });
}

/** Marks of the frequency axis: {text, place}, place 0 at the bottom and 1 at the top. */
export function frequencyMarks({ lowest_hertz: low, highest_hertz: high }) {
  return HERTZ.filter((hertz) => hertz > low && hertz < 0.9 * high).map((hertz) => ({
    text: hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`,
    place: Math.log(hertz / low) / Math.log(high / low),
  }));
}

/** Marks of the time axis in seconds, at least 64 pixels apart: {text, place}. */
export function timeMarks(duration, width) {
  const step = STEPS.find((seconds) => (seconds / duration) * width >= 64) ?? STEPS.at(-1);
  const marks = [];
  for (let seconds = 0; seconds < duration - 0.3 * step; seconds += step) {
    marks.push({ text: `${seconds} s`, place: seconds / duration });
  }
  return marks;
}
