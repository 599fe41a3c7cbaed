// Draw the items of a map with WebGL2. The vertex shader moves them between two layers.

const VERTEX = `#version 300 es
in vec2 a;
in vec2 b;
in vec4 colour;
uniform float t;
uniform vec2 scale;
uniform vec2 offset;
uniform float size;
out vec4 shade;
void main() {
  gl_Position = vec4(mix(a, b, t) * scale + offset, 0.0, 1.0);
  gl_PointSize = size;
  shade = colour;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 shade;
uniform float size;
out vec4 pixel;
void main() {
  float inside = clamp((0.5 - length(gl_PointCoord - 0.5)) * size + 0.5, 0.0, 1.0);
  pixel = vec4(shade.rgb, 1.0) * shade.a * inside;
}`;
const N_MOVING = 20000; // items drawn while the map moves: ids are hashes, so that the first ones are a random sample

export class Scatter {
  // onrestore: called when the graphics card has lost everything, and it is there again
  constructor(canvas, onrestore = () => {}) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("This browser has no WebGL2, which draws the map. The other views work without it.");
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.setUp();
      if (this.map) this.setMap(this.map);
      if (this.painted) this.setColours(this.painted);
      onrestore();
    });
    this.layers = [];
    this.setUp();
  }

  setUp() {
    const gl = this.gl;
    if (gl.isContextLost()) return;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.at = Object.fromEntries(["a", "b", "colour"].map((name) => [name, gl.getAttribLocation(program, name)]));
    this.uniform = Object.fromEntries(["t", "scale", "offset", "size"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.colours = gl.createBuffer();
    this.layers = [];
  }

  setMap(map) {
    const gl = this.gl;
    for (const buffer of this.layers) gl.deleteBuffer(buffer);
    this.map = map;
    this.layers = map.places.map((places) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
      return buffer;
    });
  }

  setColours(colours) {
    this.painted = colours;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.colours);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, colours, this.gl.DYNAMIC_DRAW);
  }

  // view: centre and half of the shorter side, in units of the map; size: diameter of an item in pixels of the screen
  draw(depth, view, size, isMoving) {
    const { gl, map, canvas } = this;
    if (gl.isContextLost()) return;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!map || !map.n) return;
    const low = Math.max(0, Math.min(map.layers.length - 1, Math.floor(depth)));
    const high = Math.min(map.layers.length - 1, low + 1);
    for (const [name, buffer] of [["a", this.layers[low]], ["b", this.layers[high]]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(this.at[name]);
      gl.vertexAttribPointer(this.at[name], 2, gl.UNSIGNED_SHORT, true, 0, 0);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, this.colours);
    gl.enableVertexAttribArray(this.at.colour);
    gl.vertexAttribPointer(this.at.colour, 4, gl.UNSIGNED_BYTE, true, 0, 0);
    const shorter = Math.min(canvas.width, canvas.height);
    const zoom = [shorter / canvas.width / view.half, shorter / canvas.height / view.half];
    gl.uniform1f(this.uniform.t, depth - low);
    gl.uniform2f(this.uniform.scale, map.span[0] * zoom[0], map.span[1] * zoom[1]);
    gl.uniform2f(this.uniform.offset, -view.x * zoom[0], -view.y * zoom[1]);
    gl.uniform1f(this.uniform.size, size);
    gl.drawArrays(gl.POINTS, 0, isMoving ? Math.min(map.n, N_MOVING) : map.n);
  }

  release() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
