// The page of a machine: its screen by noVNC, its serial line by the terminal beside this file.

import { Terminal, typed } from "./terminal.js";

const find = (id) => document.getElementById(id);
const states = { screen: ["connecting", ""], serial: ["waiting", ""] };
let shown = "screen";

/** Where a WebSocket of this page is. */
function place(name) {
  const url = new URL(name, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

function tell(tab, state, why = "") {
  states[tab] = [state, why];
  if (tab !== shown) return;
  find("state").dataset.state = state;
  find("state").textContent = why ? `${state}: ${why}` : state;
}

// --- the screen ---------------------------------------------------------------------------------

let screen = null;
let copied = "";

async function connectScreen() {
  const { default: RFB } = await import("./novnc/core/rfb.js");
  tell("screen", "connecting");
  const rfb = new RFB(find("screen"), place("screen"), { shared: true });
  rfb.scaleViewport = true;
  rfb.addEventListener("connect", () => { screen = rfb; tell("screen", "connected"); });
  let refused = "";
  rfb.addEventListener("securityfailure", (event) => { refused = event.detail.reason || ""; });
  rfb.addEventListener("clipboard", (event) => {
    copied = event.detail.text;
    // Where the browser allows it; the button shows it in any case.
    navigator.clipboard?.writeText(copied).catch(() => {});
  });
  rfb.addEventListener("disconnect", (event) => {
    screen = null;
    const why = refused || (event.detail.clean ? "the machine ended the connection" : "the connection broke");
    tell("screen", "reconnecting", why);
    setTimeout(connectScreen, 3000);
  });
}

// --- the serial line ----------------------------------------------------------------------------

let line = null;
const encoder = new TextEncoder();
const send = (text) => { if (line?.readyState === WebSocket.OPEN) line.send(encoder.encode(text)); };
const terminal = new Terminal(80, 24, send);
let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; terminal.show(find("terminal")); });
}

/** The terminal as large as there is room for. */
function fit() {
  const element = find("terminal");
  if (element.clientWidth === 0) return;
  const probe = document.createElement("span");
  probe.textContent = "M".repeat(100);
  element.append(probe);
  const cell = probe.getBoundingClientRect();
  probe.remove();
  const columns = Math.floor((element.clientWidth - 24) / (cell.width / 100));
  const rows = Math.floor((element.clientHeight - 8) / cell.height);
  terminal.resize(Math.max(columns, 20), Math.max(rows, 4));
  draw();
}

function connectSerial() {
  tell("serial", "connecting");
  let last = "connecting";
  line = new WebSocket(place("serial"));
  line.binaryType = "arraybuffer";
  line.onopen = () => { terminal.past = []; terminal.reset(); };
  line.onmessage = (event) => {
    if (typeof event.data === "string") {
      const { state, why } = JSON.parse(event.data);
      last = state;
      tell("serial", state, why);
      return;
    }
    terminal.write(new Uint8Array(event.data));
    draw();
  };
  line.onclose = () => {
    line = null;
    if (last !== "ended" && last !== "failed") tell("serial", "reconnecting", "hyper is not there");
    setTimeout(connectSerial, 3000);
  };
}

find("terminal").addEventListener("keydown", (event) => {
  const text = typed(event);
  if (text === null) return;
  event.preventDefault();
  send(text);
});
find("terminal").addEventListener("paste", (event) => {
  event.preventDefault();
  send(event.clipboardData.getData("text").replace(/\r?\n/g, "\r"));
});
find("stty").onclick = () => { send(` stty rows ${terminal.rows} cols ${terminal.columns}\r`); find("terminal").focus(); };
new ResizeObserver(fit).observe(find("terminal"));

// --- tabs and buttons ---------------------------------------------------------------------------

function choose(tab) {
  shown = tab;
  for (const name of ["screen", "serial"]) {
    find(name).hidden = name !== tab;
    find(`${name}-tab`).setAttribute("aria-selected", String(name === tab));
  }
  for (const tools of document.querySelectorAll(".tools")) tools.hidden = tools.dataset.for !== tab;
  tell(tab, ...states[tab]);
  if (tab === "serial") {
    // The line is left to others until somebody wants to see it.
    if (!line) connectSerial();
    fit();
    find("terminal").focus();
  } else {
    screen?.focus();
  }
}

find("screen-tab").onclick = () => choose("screen");
find("serial-tab").onclick = () => choose("serial");
find("ctrl-alt-delete").onclick = () => screen?.sendCtrlAltDel();

const dialog = find("clipboard");
find("copy").onclick = () => { find("send").hidden = true; find("text").value = copied; dialog.showModal(); find("text").select(); };
find("paste").onclick = async () => {
  find("send").hidden = false;
  find("text").value = await navigator.clipboard?.readText().catch(() => "") ?? "";
  dialog.showModal();
};
dialog.onsubmit = ({ submitter }) => {
  if (submitter === find("send")) screen?.clipboardPasteFrom(find("text").value);
};

connectScreen();
