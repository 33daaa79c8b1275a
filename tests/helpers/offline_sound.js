/** Puts a context that renders in steps in place of the page's AudioContext; see `helpers/pages.py`. */

const MAX_FILES = 4;
const MAX_SECONDS = 60;
const STEP_SECONDS = 1; // rendered at a time
const AHEAD_SECONDS = 2.5; // what the player has to have scheduled before the next step; it wants to have 3

let scheduledUntil = 0; // the end of what the player has started, in audio time
const { start, stop } = AudioBufferSourceNode.prototype;
AudioBufferSourceNode.prototype.start = function (time) {
  start.call(this, time);
  scheduledUntil = time + this.buffer.duration;
};
AudioBufferSourceNode.prototype.stop = function (time) {
  stop.call(this, time);
  scheduledUntil = 0; // the player schedules anew
};

window.AudioContext = class extends OfflineAudioContext {
  #heard = super.createGain();
  #recording = null; // promise of all that is rendered

  constructor({ sampleRate }) {
    super({ numberOfChannels: MAX_FILES + 1, length: MAX_SECONDS * sampleRate, sampleRate });
    window.offlineSound = this;
  }

  /** What the player takes for the loudspeakers. */
  get destination() {
    return this.#heard;
  }

  async resume() {
    if (this.#recording) return;
    const merger = this.createChannelMerger(MAX_FILES + 1);
    [...studio.player.graph.gains, this.#heard].forEach((node, channel) => {
      const splitter = this.createChannelSplitter(2);
      node.connect(splitter).connect(merger, 0, channel);
    });
    merger.connect(super.destination);
    const hasStopped = this.suspend(0);
    this.#recording = this.startRendering();
    await hasStopped;
  }

  async close() {}

  async advance(seconds) {
    const end = this.currentTime + seconds;
    while (this.currentTime < end) {
      while (!isAhead(this.currentTime)) await new Promise((done) => setTimeout(done, 5));
      const hasStopped = this.suspend(Math.min(this.currentTime + STEP_SECONDS, end));
      super.resume();
      await hasStopped;
    }
  }

  async end() {
    const { player } = studio;
    player.pause();
    const [nFiles, nSamples] = [player.graph.gains.length, Math.round(this.currentTime * this.sampleRate)];
    super.resume();
    const recorded = await this.#recording;
    const channels = Array.from({ length: nFiles + 1 }, (_, channel) => recorded.getChannelData(channel).slice(0, nSamples));
    return Promise.all(channels.map(inBase64));
  }
};

/** Whether the player has scheduled what is played next. */
function isAhead(now) {
  const { isPlaying, loop, duration, position } = studio.player;
  return !isPlaying || scheduledUntil - now >= Math.min(AHEAD_SECONDS, loop ? Infinity : duration - position - 0.001);
}

async function inBase64(samples) {
  const reader = new FileReader();
  const isRead = new Promise((done) => reader.addEventListener("load", done));
  reader.readAsDataURL(new Blob([samples]));
  await isRead;
  return reader.result.split(",")[1];
}
