/** A WAV file on the server, read in parts. */

const HEADER_BYTES = 4096;

async function fetchBytes(url, start, stop, signal) {
  const response = await fetch(url, { headers: { range: `bytes=${start}-${stop - 1}` }, signal });
  if (!response.ok) throw new Error(`the stems cannot be read (${response.status})`);
  return response.arrayBuffer();
}

/** Where the samples begin, and how they are coded: a walk through the chunks of RIFF or RF64. */
export function parseHeader(buffer) {
  const view = new DataView(buffer);
  const text = (offset) => String.fromCharCode(...new Uint8Array(buffer, offset, 4));
  let format = null;
  for (let offset = 12; offset + 8 <= buffer.byteLength;) {
    const [id, size] = [text(offset), view.getUint32(offset + 4, true)];
    if (id === "data") return { ...format, offset: offset + 8 };
    if (id === "fmt ") {
      const tag = view.getUint16(offset + 8, true);
      format = {
        isFloat: (tag === 0xfffe ? view.getUint16(offset + 32, true) : tag) === 3,
        nChannels: view.getUint16(offset + 10, true),
        sampleRate: view.getUint32(offset + 12, true),
        nBytes: view.getUint16(offset + 22, true) / 8,
      };
    }
    offset += 8 + size + (size % 2);
  }
  throw new Error("the stems are no WAV file that this page can read");
}

/** How a sample at a byte becomes a number, full scale being 1. */
function sampleReader(view, { isFloat, nBytes }) {
  if (isFloat && nBytes === 8) return (at) => view.getFloat64(at, true);
  if (isFloat) return (at) => view.getFloat32(at, true);
  if (nBytes === 1) return (at) => (view.getUint8(at) - 128) / 128;
  if (nBytes === 2) return (at) => view.getInt16(at, true) / 32768;
  if (nBytes === 3) return (at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 8388608;
  return (at) => view.getInt32(at, true) / 2147483648;
}

/** Interleaved samples to one Float32Array per channel. */
export function decode(buffer, format) {
  const { nChannels, nBytes } = format;
  const read = sampleReader(new DataView(buffer), format);
  const nFrames = Math.floor(buffer.byteLength / (nChannels * nBytes));
  return Array.from({ length: nChannels }, (_, channel) => {
    const samples = new Float32Array(nFrames);
    for (let frame = 0, at = channel * nBytes; frame < nFrames; frame++, at += nChannels * nBytes) {
      samples[frame] = read(at);
    }
    return samples;
  });
}

export class WavFile {
  #url;
  #format = null;

  constructor(url) {
    this.#url = url;
  }

  /** Frames `start` to `stop`, one Float32Array per channel. */
  async read(start, stop, signal) {
    this.#format ??= fetchBytes(this.#url, 0, HEADER_BYTES, signal).then(parseHeader);
    let format;
    try {
      format = await this.#format;
    } catch (error) {
      this.#format = null;
      throw error;
    }
    const frameBytes = format.nChannels * format.nBytes;
    const [first, last] = [format.offset + start * frameBytes, format.offset + stop * frameBytes];
    return decode(await fetchBytes(this.#url, first, last, signal), format);
  }
}
