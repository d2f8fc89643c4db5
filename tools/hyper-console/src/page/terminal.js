// A terminal: what a machine writes on its serial line, as rows of cells, and what keys mean there.
// It knows what shells, editors and boot messages use of ECMA-48 and of xterm; the rest is skipped.

const BLANK = { sign: " ", style: "" };

/** What a key sends, by its name in the browser; the others send their own letter. */
const KEYS = {
  Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b",
  ArrowUp: "\x1b[A", ArrowDown: "\x1b[B", ArrowRight: "\x1b[C", ArrowLeft: "\x1b[D",
  Home: "\x1b[H", End: "\x1b[F", Insert: "\x1b[2~", Delete: "\x1b[3~",
  PageUp: "\x1b[5~", PageDown: "\x1b[6~",
  F1: "\x1bOP", F2: "\x1bOQ", F3: "\x1bOR", F4: "\x1bOS", F5: "\x1b[15~", F6: "\x1b[17~",
  F7: "\x1b[18~", F8: "\x1b[19~", F9: "\x1b[20~", F10: "\x1b[21~", F11: "\x1b[23~", F12: "\x1b[24~",
};

/** What a key event sends to the machine; null where it is for the browser. */
export function typed(event) {
  if (event.metaKey || event.isComposing) return null;
  if (KEYS[event.key]) return event.altKey ? "\x1b" + KEYS[event.key] : KEYS[event.key];
  if ([...event.key].length !== 1) return null;
  if (event.ctrlKey && !event.altKey) {
    // Copying and pasting stay with the browser.
    if (event.shiftKey && /^[cv]$/i.test(event.key)) return null;
    const code = event.key.toUpperCase().charCodeAt(0);
    if (event.key === " ") return "\x00";
    return code >= 0x40 && code < 0x60 ? String.fromCharCode(code & 0x1f) : null;
  }
  return event.altKey && !event.ctrlKey ? "\x1b" + event.key : event.key;
}

export class Terminal {
  /** A terminal of a size; `answer` takes what it has to say to the machine. */
  constructor(columns, rows, answer = () => {}) {
    this.answer = answer;
    this.decoder = new TextDecoder();
    this.past = [];
    this.columns = columns;
    this.rows = rows;
    this.reset();
  }

  reset() {
    this.lines = Array.from({ length: this.rows }, () => this.empty());
    this.row = this.column = 0;
    this.top = 0;
    this.bottom = this.rows - 1;
    this.style = { bold: false, underline: false, inverse: false, front: null, back: null };
    this.saved = [0, 0];
    this.shown = true;
    this.other = null;
    this.pending = "";
  }

  empty() { return Array.from({ length: this.columns }, () => BLANK); }

  /** Gives it another size; what does not fit any more is gone from the right and the top. */
  resize(columns, rows) {
    const fit = (line) => {
      const now = line.slice(0, columns);
      while (now.length < columns) now.push(BLANK);
      return now;
    };
    this.columns = columns;
    this.lines = this.lines.map(fit);
    while (this.lines.length > rows) {
      if (this.row < this.lines.length - 1) this.lines.pop();
      else { this.past.push(this.lines.shift()); this.row -= 1; }
    }
    while (this.lines.length < rows) this.lines.push(this.empty());
    this.rows = rows;
    this.top = 0;
    this.bottom = rows - 1;
    this.row = Math.min(Math.max(this.row, 0), rows - 1);
    this.column = Math.min(this.column, columns);
  }

  /** Takes what the machine wrote (bytes of UTF-8). */
  write(bytes) {
    let text = this.pending + this.decoder.decode(bytes, { stream: true });
    this.pending = "";
    while (text) {
      const escape = /^\x1b(?:\[([<-?]?)([0-9;:]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+#%][ -~]|[ -Z\\^-~])/.exec(text);
      if (escape) {
        if (escape[3]) this.control(escape[1], escape[2], escape[3]);
        else this.single(escape[0]);
        text = text.slice(escape[0].length);
      } else if (text[0] === "\x1b") {
        // The rest of it is still to come, unless it is none at all.
        if (text.length < 256) { this.pending = text; return; }
        text = text.slice(1);
      } else {
        const sign = String.fromCodePoint(text.codePointAt(0));
        this.put(sign);
        text = text.slice(sign.length);
      }
    }
  }

  put(sign) {
    switch (sign) {
      case "\r": this.column = 0; return;
      case "\n": case "\v": case "\f": this.feed(); return;
      case "\b": this.column = Math.max(0, Math.min(this.column, this.columns - 1) - 1); return;
      case "\t": this.column = Math.min((Math.floor(this.column / 8) + 1) * 8, this.columns - 1); return;
    }
    if (sign < " " || sign === "\x7f") return;
    if (this.column >= this.columns) { this.column = 0; this.feed(); }
    this.lines[this.row][this.column] = { sign, style: this.look() };
    this.column += 1;
  }

  look() {
    const style = this.style;
    const words = ["bold", "underline", "inverse"].filter((word) => style[word]);
    if (style.front !== null) words.push("f" + style.front);
    if (style.back !== null) words.push("b" + style.back);
    return words.join(" ");
  }

  feed() {
    if (this.row === this.bottom) this.scroll(1);
    else this.row = Math.min(this.row + 1, this.rows - 1);
  }

  /** Moves the scrolling rows up, or down where negative. */
  scroll(count) {
    for (let n = 0; n < Math.abs(count); n += 1) {
      const [from, to] = count > 0 ? [this.top, this.bottom] : [this.bottom, this.top];
      const [line] = this.lines.splice(from, 1);
      this.lines.splice(to, 0, this.empty());
      if (count > 0 && this.top === 0 && !this.other) this.past.push(line);
    }
    if (this.past.length > 2000) this.past.splice(0, this.past.length - 2000);
  }

  single(escape) {
    switch (escape.slice(1)) {
      case "D": this.feed(); break;
      case "E": this.column = 0; this.feed(); break;
      case "M": if (this.row === this.top) this.scroll(-1); else this.row = Math.max(0, this.row - 1); break;
      case "7": this.saved = [this.row, this.column]; break;
      case "8": [this.row, this.column] = this.saved; break;
      case "c": this.past = []; this.reset(); break;
      case "Z": this.answer("\x1b[?6c"); break;
    }
  }

  control(mark, text, kind) {
    const numbers = text.split(/[;:]/).map((part) => (part === "" ? null : Number(part)));
    const first = numbers[0] || 1;
    if (mark === "?") { this.mode(numbers, kind); return; }
    if (mark) return;
    const move = (row, column) => {
      this.row = Math.min(Math.max(row, 0), this.rows - 1);
      this.column = Math.min(Math.max(column, 0), this.columns - 1);
    };
    const column = Math.min(this.column, this.columns - 1);
    const line = this.lines[this.row];
    switch (kind) {
      case "A": move(this.row - first, column); break;
      case "B": case "e": move(this.row + first, column); break;
      case "C": case "a": move(this.row, column + first); break;
      case "D": move(this.row, column - first); break;
      case "E": move(this.row + first, 0); break;
      case "F": move(this.row - first, 0); break;
      case "G": case "`": move(this.row, first - 1); break;
      case "d": move(first - 1, column); break;
      case "H": case "f": move(first - 1, (numbers[1] || 1) - 1); break;
      case "J": this.erase(numbers[0] || 0); break;
      case "K": {
        const [from, to] = [[column, this.columns], [0, column + 1], [0, this.columns]][numbers[0] || 0] || [0, 0];
        line.fill(BLANK, from, to);
        break;
      }
      case "L": case "M":
        if (this.row >= this.top && this.row <= this.bottom) {
          const top = this.top;
          this.top = this.row;
          const past = this.past;
          this.past = [];
          this.scroll((kind === "M" ? 1 : -1) * Math.min(first, this.bottom - this.row + 1));
          [this.past, this.top] = [past, top];
        }
        break;
      case "P": line.splice(column, first); while (line.length < this.columns) line.push(BLANK); break;
      case "@": line.splice(column, 0, ...Array(Math.min(first, this.columns)).fill(BLANK)); line.length = this.columns; break;
      case "X": line.fill(BLANK, column, Math.min(column + first, this.columns)); break;
      case "S": this.scroll(Math.min(first, this.rows)); break;
      case "T": this.scroll(-Math.min(first, this.rows)); break;
      case "m": this.paint(numbers); break;
      case "n":
        if (numbers[0] === 6) this.answer(`\x1b[${this.row + 1};${column + 1}R`);
        if (numbers[0] === 5) this.answer("\x1b[0n");
        break;
      case "c": this.answer("\x1b[?6c"); break;
      case "r":
        this.top = Math.min(first, this.rows) - 1;
        this.bottom = Math.min(numbers[1] || this.rows, this.rows) - 1;
        if (this.top >= this.bottom) [this.top, this.bottom] = [0, this.rows - 1];
        move(0, 0);
        break;
      case "s": this.saved = [this.row, this.column]; break;
      case "u": [this.row, this.column] = this.saved; break;
      case "t": if (numbers[0] === 18) this.answer(`\x1b[8;${this.rows};${this.columns}t`); break;
    }
  }

  mode(numbers, kind) {
    const on = kind === "h";
    if (!on && kind !== "l") return;
    for (const number of numbers) {
      if (number === 25) this.shown = on;
      // Programs that take the whole screen leave what was there.
      if ([47, 1047, 1049].includes(number) && on !== Boolean(this.other)) {
        if (on) {
          this.other = { lines: this.lines, place: [this.row, this.column] };
          this.lines = Array.from({ length: this.rows }, () => this.empty());
        } else {
          const { lines, place } = this.other;
          this.other = null;
          [this.lines, [this.row, this.column]] = [lines, place];
          this.resize(this.columns, this.rows);
        }
      }
    }
  }

  erase(how) {
    const all = (from, to) => { for (let row = from; row < to; row += 1) this.lines[row] = this.empty(); };
    if (how === 0) { this.lines[this.row].fill(BLANK, Math.min(this.column, this.columns)); all(this.row + 1, this.rows); }
    if (how === 1) { this.lines[this.row].fill(BLANK, 0, this.column + 1); all(0, this.row); }
    if (how >= 2) all(0, this.rows);
    if (how === 3) this.past = [];
  }

  paint(numbers) {
    const style = this.style;
    for (let at = 0; at < numbers.length; at += 1) {
      const number = numbers[at] || 0;
      if (number === 0) Object.assign(style, { bold: false, underline: false, inverse: false, front: null, back: null });
      else if (number === 1) style.bold = true;
      else if (number === 4) style.underline = true;
      else if (number === 7) style.inverse = true;
      else if (number === 22) style.bold = false;
      else if (number === 24) style.underline = false;
      else if (number === 27) style.inverse = false;
      else if (number >= 30 && number <= 37) style.front = number - 30;
      else if (number === 39) style.front = null;
      else if (number >= 40 && number <= 47) style.back = number - 40;
      else if (number === 49) style.back = null;
      else if (number >= 90 && number <= 97) style.front = number - 90;
      else if (number >= 100 && number <= 107) style.back = number - 100;
      // One of many colours: a number, or three; the nearest of eight is not looked for.
      else if (number === 38 || number === 48) at += numbers[at + 1] === 5 ? 2 : 4;
    }
  }

  /** The rows as text, without the blanks at their ends. */
  text() {
    return this.lines.map((line) => line.map((cell) => cell.sign).join("").trimEnd());
  }

  /** Shows it as children of an element. */
  show(element) {
    const document = element.ownerDocument;
    const end = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    const rows = this.past.concat(this.lines).map((line, at) => {
      const row = document.createElement("div");
      const cursor = this.shown && at === this.past.length + this.row ? Math.min(this.column, this.columns - 1) : -1;
      let length = line.length;
      while (length > 0 && line[length - 1] === BLANK && length - 1 > cursor) length -= 1;
      for (let column = 0; column < length;) {
        const style = line[column].style;
        let text = line[column].sign;
        let next = column + 1;
        while (column !== cursor && next < length && next !== cursor && line[next].style === style) {
          text += line[next].sign;
          next += 1;
        }
        const span = document.createElement("span");
        span.className = column === cursor ? `${style} cursor` : style;
        span.textContent = text;
        row.append(span);
        column = next;
      }
      if (length === 0) row.textContent = "\u00a0";
      return row;
    });
    element.replaceChildren(...rows);
    if (end) element.scrollTop = element.scrollHeight;
  }
}
