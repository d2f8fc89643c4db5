"""Somebody with a browser at the page of `hyper console vnc --browser`.

    visitor.py BROWSER FOLDER URL [PICTURE]

Prints `seen` once screen, clipboard and serial line did what they are for, waits for the page to
notice that hyper is gone, and prints `done`. PICTURE takes the page as it looks then.
"""

import asyncio
import base64
import json
import re
import subprocess
import sys

import websockets

BROWSER, FOLDER, URL = sys.argv[1:4]
PATIENCE = 30

SCREEN = """(() => {
    const canvas = document.querySelector("#screen canvas");
    if (!canvas) return null;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let sum = 0;
    for (let at = 0; at < data.length; at++) sum = (sum * 31 + data[at]) >>> 0;
    return [canvas.width, canvas.height, sum];
})()"""


class Page:
    """A tab, by the DevTools protocol."""

    def __init__(self, socket):
        self.socket, self.number, self.session = socket, 0, None

    async def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        await self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    async def open(self):
        target = await self.call("Target.createTarget", url=URL, width=1200, height=800)
        attached = await self.call("Target.attachToTarget", flatten=True, **target)
        self.session = attached["sessionId"]

    async def get(self, script):
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, what, script, good):
        for _ in range(PATIENCE * 10):
            found = await self.get(script)
            if good(found):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"{what} did not come: {found!r}")

    async def state(self, word):
        await self.until(word, "document.getElementById('state')?.textContent",
                         lambda text: (text or "").startswith(word))

    async def click(self, name):
        place = await self.get(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.getElementById('{name}').getBoundingClientRect())")
        for kind in ["mousePressed", "mouseReleased"]:
            await self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1],
                            button="left", clickCount=1)

    async def type(self, text):
        for letter in text:
            key = {"key": letter, "text": letter}
            if letter == "\r":
                key = {"key": "Enter", "code": "Enter", "text": "\r"}
            elif letter.isalpha():
                key["code"] = f"Key{letter.upper()}"
            await self.call("Input.dispatchKeyEvent", type="keyDown", **key)
            await self.call("Input.dispatchKeyEvent", type="keyUp",
                            **{name: key[name] for name in key if name != "text"})


async def screen(page):
    await page.state("connected")
    before = await page.until("the screen", SCREEN, lambda it: it and it[:2] == [640, 400])
    await page.click("screen")
    clicked = await page.until("what a click does", SCREEN, lambda it: it[2] != before[2])
    await page.type("k")
    await page.until("what a key does", SCREEN, lambda it: it[2] != clicked[2])
    # The guest gives back what it is given.
    await page.click("paste")
    await page.until("the dialog", "document.getElementById('clipboard').open", bool)
    await page.get("document.getElementById('text').value = 'from the browser'")
    await page.click("send")
    await page.until("its end", "document.getElementById('clipboard').open", lambda it: not it)
    for _ in range(50):
        await page.click("copy")
        text = await page.get("document.getElementById('text').value")
        await page.get("document.getElementById('clipboard').close()")
        if text == "from the browser":
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the clipboard has {text!r}")


async def serial(page):
    async def shows(text):
        await page.until(text, "document.getElementById('terminal').innerText",
                         lambda shown: text in shown)

    await page.click("serial-tab")
    await page.state("connected")
    await page.type("\r")
    await shows("login: ")
    await page.type("root\r")
    await shows("Password: ")
    await page.type("secret\r")
    await page.type("echo it is there\r")
    await shows("\nit is there")


async def visit(address):
    async with websockets.connect(address, max_size=None) as socket:
        page = Page(socket)
        await page.open()
        await screen(page)
        await serial(page)
        if len(sys.argv) > 4:
            picture = await page.call("Page.captureScreenshot")
            with open(sys.argv[4], "wb") as file:
                file.write(base64.b64decode(picture["data"]))
        print("seen", flush=True)
        await page.state("reconnecting")
        await page.click("screen-tab")
        await page.state("reconnecting")
        print("done", flush=True)


browser = subprocess.Popen(
    [BROWSER, f"--user-data-dir={FOLDER}", "--remote-debugging-port=0", "about:blank"],
    stderr=subprocess.PIPE, text=True)
try:
    said = []
    for line in browser.stderr:
        said.append(line)
        found = re.match(r"DevTools listening on (ws://\S+)", line)
        if found:
            asyncio.run(visit(found[1]))
            break
    else:
        raise AssertionError("the browser ended: " + "".join(said))
finally:
    browser.kill()
    browser.wait()
