// The connection: one web socket, opened again when it is lost. Texts are JSON; binaries are pictures.

const TYPES = {
  float32: Float32Array, float64: Float64Array, uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array,
  int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
};

export class Link {
  // `handlers[type](message, data)`; `changed(open)` when the connection comes or goes.
  constructor(handlers, changed) {
    this.handlers = handlers;
    this.changed = changed;
    this.wait = 250;
    this.connect();
  }

  connect() {
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = 250;
      this.changed(true);
    };
    this.socket.onclose = () => {
      this.changed(false);
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(5000, this.wait * 2);
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        const message = JSON.parse(data);
        this.handlers[message.type]?.(message);
      } else this.picture(data);
    };
  }

  picture(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    // pixels begin at a multiple of 8
    const begin = Math.ceil((4 + length) / 8) * 8;
    const pixels = new TYPES[header.dtype](buffer, begin, header.shape[0] * header.shape[1]);
    this.handlers[header.type]?.(header, pixels);
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
