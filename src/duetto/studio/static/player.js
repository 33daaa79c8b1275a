/**
 * Plays several files of the same length in exact sync, each with a gain of its own.
 *
 * Files are read in chunks and every chunk of all files is started at one time of one audio clock, to the
 * sample, so nothing can drift; memory holds a few chunks, however long the song is.
 */

const CHUNK_SECONDS = 5;
const LEAD_SECONDS = 3; // scheduled ahead: timers of hidden pages fire once a second
const START_SECONDS = 0.06; // from deciding to sound
const FADE_SECONDS = 0.004; // time constant; keeps pause and seek from clicking
const MAX_CHUNKS = 8;

export class Player extends EventTarget {
  #files;
  #sampleRate;
  #nFrames;
  #context = null;
  #master = null;
  #gains = [];
  #levels;
  #chunks = new Map(); // index -> promise of files -> channels
  #run = 0; // grows with every start and stop; what belongs to an older run ends itself
  #scheduled = []; // {time, frame, nFrames, nodes}, in the order of their times
  #cursor = 0; // the next frame to be scheduled
  #nextTime = null; // when it will sound
  #frame = 0; // where to start, while nothing plays
  #loop = null; // [start, stop] in frames
  isPlaying = false;

  /** `files` have `read(start, stop, signal)`. */
  constructor(files, { sampleRate, nFrames }) {
    super();
    this.#files = files;
    this.#sampleRate = sampleRate;
    this.#nFrames = nFrames;
    this.#levels = files.map(() => 1);
  }

  get duration() {
    return this.#nFrames / this.#sampleRate;
  }

  /** The audio context and the gain nodes, once something has played. */
  get graph() {
    return { context: this.#context, gains: this.#gains, master: this.#master };
  }

  get loop() {
    return this.#loop && this.#loop.map((frame) => frame / this.#sampleRate);
  }

  /** What sounds now, in seconds. */
  get position() {
    if (!this.isPlaying) return this.#frame / this.#sampleRate;
    return this.#frameAt(this.#context.currentTime - (this.#context.outputLatency || 0)) / this.#sampleRate;
  }

  setGain(index, gain) {
    this.#levels[index] = gain;
    const node = this.#gains[index];
    node?.gain.setTargetAtTime(gain, this.#context.currentTime, FADE_SECONDS);
  }

  /** Load the beginning, so that play starts at once. */
  preload() {
    this.#chunk(this.#index(this.#frame)).catch(() => {});
  }

  async play() {
    if (this.isPlaying) return;
    if (this.#frame >= this.#nFrames) this.#frame = 0;
    this.#open();
    this.isPlaying = true;
    this.#changed();
    const run = ++this.#run;
    await this.#context.resume();
    if (run === this.#run) this.#start(this.#frame);
  }

  pause() {
    if (!this.isPlaying) return;
    this.#frame = this.#frameAt(this.#context.currentTime);
    this.isPlaying = false;
    this.#stop();
    this.#changed();
  }

  seek(seconds) {
    this.#frame = Math.min(this.#toFrame(seconds), this.#nFrames - 1);
    if (this.#loop && (this.#frame < this.#loop[0] || this.#frame >= this.#loop[1])) this.#loop = null;
    if (this.isPlaying) {
      this.#stop();
      this.#start(this.#frame);
    } else {
      this.preload();
    }
    this.#changed();
  }

  /** Repeat a passage, in seconds, or no longer (null). */
  setLoop(passage) {
    const frames = passage?.map((seconds) => this.#toFrame(seconds));
    this.#loop = frames && frames[1] - frames[0] >= 0.05 * this.#sampleRate ? frames : null;
    if (!this.isPlaying) {
      if (this.#loop) this.#frame = this.#loop[0];
    } else {
      const now = this.#frameAt(this.#context.currentTime);
      const isInside = !this.#loop || (now >= this.#loop[0] && now < this.#loop[1]);
      this.#stop();
      this.#start(isInside ? now : this.#loop[0]);
    }
    this.#changed();
  }

  close() {
    this.pause();
    this.#run++;
    this.#chunks.clear();
    this.#context?.close();
  }

  #open() {
    if (this.#context) return;
    try {
      this.#context = new AudioContext({ sampleRate: this.#sampleRate });
    } catch {
      this.#context = new AudioContext(); // a rate that this browser does not play is converted by it
    }
    this.#master = new GainNode(this.#context);
    this.#master.connect(this.#context.destination);
    this.#gains = this.#levels.map((gain) => {
      const node = new GainNode(this.#context, { gain });
      node.connect(this.#master);
      return node;
    });
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #toFrame(seconds) {
    return Math.round(Math.min(Math.max(seconds, 0), this.duration) * this.#sampleRate);
  }

  #index(frame) {
    return Math.floor(frame / (CHUNK_SECONDS * this.#sampleRate));
  }

  /** One chunk of every file; the most recent ones are kept. */
  #chunk(index) {
    const size = CHUNK_SECONDS * this.#sampleRate;
    const [start, stop] = [index * size, Math.min((index + 1) * size, this.#nFrames)];
    if (start >= stop) return Promise.resolve(null);
    let chunk = this.#chunks.get(index);
    this.#chunks.delete(index);
    chunk ??= Promise.all(this.#files.map((file) => file.read(start, stop)));
    chunk.catch(() => this.#chunks.delete(index));
    this.#chunks.set(index, chunk);
    for (const old of this.#chunks.keys()) {
      if (this.#chunks.size <= MAX_CHUNKS) break;
      this.#chunks.delete(old);
    }
    return chunk;
  }

  #start(frame) {
    this.#cursor = frame;
    this.#frame = frame;
    this.#nextTime = null;
    const run = ++this.#run;
    this.#pump(run).catch((error) => {
      if (run !== this.#run) return;
      this.pause();
      this.dispatchEvent(new CustomEvent("problem", { detail: error.message }));
    });
  }

  #stop() {
    this.#run++;
    const now = this.#context.currentTime;
    const { gain } = this.#master;
    gain.cancelScheduledValues(now);
    gain.setTargetAtTime(0, now, FADE_SECONDS);
    for (const { nodes } of this.#scheduled) for (const node of nodes) node.stop(now + 6 * FADE_SECONDS);
    this.#scheduled = [];
  }

  /** Keep the next seconds scheduled until another run begins or the song ends. */
  async #pump(run) {
    while (run === this.#run) {
      const chunk = await this.#chunk(this.#index(this.#cursor));
      if (run !== this.#run) return;
      this.#schedule(chunk);
      this.#chunk(this.#index(this.#cursor)).catch(() => {}); // have the next one ready
      while (run === this.#run && this.#nextTime - this.#context.currentTime > LEAD_SECONDS) await sleep(100);
      if (this.#cursor >= this.#nFrames && run === this.#run) return this.#finish(run);
    }
  }

  /** Start what is left of a chunk in all files at one time. */
  #schedule(chunk) {
    const first = this.#index(this.#cursor) * CHUNK_SECONDS * this.#sampleRate;
    const limit = this.#loop && this.#cursor < this.#loop[1] ? this.#loop[1] : this.#nFrames;
    const stop = Math.min(first + chunk[0][0].length, limit);
    const nFrames = stop - this.#cursor;
    const time = this.#timeOfNext();
    const nodes = chunk.map((channels, index) => {
      const buffer = new AudioBuffer({
        numberOfChannels: channels.length,
        length: nFrames,
        sampleRate: this.#sampleRate,
      });
      channels.forEach((samples, channel) => {
        buffer.copyToChannel(samples.subarray(this.#cursor - first, stop - first), channel);
      });
      const node = new AudioBufferSourceNode(this.#context, { buffer });
      node.connect(this.#gains[index]);
      node.start(time);
      return node;
    });
    const piece = { time, frame: this.#cursor, nFrames, nodes };
    this.#scheduled.push(piece);
    this.#nextTime = time + nFrames / this.#sampleRate;
    this.#cursor = this.#loop && stop === this.#loop[1] ? this.#loop[0] : stop;
    this.#scheduled = this.#scheduled.filter(
      (old) => old === piece || this.#ends(old) > this.#context.currentTime - 1,
    );
  }

  /** When the next piece sounds: right after the one before, or soon if there is none or it came late. */
  #timeOfNext() {
    const now = this.#context.currentTime;
    if (this.#nextTime !== null && this.#nextTime > now + 0.005) return this.#nextTime;
    const time = Math.ceil((now + START_SECONDS) * this.#sampleRate) / this.#sampleRate;
    this.#master.gain.setValueAtTime(0, time);
    this.#master.gain.setTargetAtTime(1, time, FADE_SECONDS);
    return time;
  }

  #ends({ time, nFrames }) {
    return time + nFrames / this.#sampleRate;
  }

  #frameAt(time) {
    let found = this.#frame;
    for (const piece of this.#scheduled) {
      if (piece.time > time) break;
      found = piece.frame + Math.min(Math.round((time - piece.time) * this.#sampleRate), piece.nFrames);
    }
    return found;
  }

  async #finish(run) {
    while (run === this.#run && this.#context.currentTime < this.#nextTime) await sleep(30);
    if (run !== this.#run) return;
    this.pause();
    this.#frame = 0;
    this.#changed();
  }
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
