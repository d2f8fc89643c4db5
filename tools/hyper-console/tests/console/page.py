"""A browser's part: talks to the page of `hyper console vnc --browser` as noVNC and the terminal do.

    page.py URL
"""

import asyncio
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import websockets

PAGE = sys.argv[1]
PLACE = urllib.parse.urlsplit(PAGE)
HOST = PLACE.netloc
ORIGIN = f"http://{HOST}"


def get(path, **headers):
    request = urllib.request.Request(urllib.parse.urljoin(PAGE, path), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def files():
    status, headers, body = get("")
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8", headers
    assert b"<strong>web01</strong>" in body, body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and f"ws://{HOST}" in policy, policy
    assert headers["referrer-policy"] == "no-referrer" and headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    script = "text/javascript; charset=utf-8"
    for path, kind in [
        ("page.js", script), ("terminal.js", script), ("page.css", "text/css; charset=utf-8"),
        ("novnc/core/rfb.js", script), ("novnc/core/decoders/raw.js", script),
        ("novnc/vendor/pako/lib/zlib/inflate.js", script),
    ]:
        status, headers, body = get(path)
        assert status == 200 and headers["content-type"] == kind and body, (path, status, headers)


def refusals():
    for path in [
        "../", "/", "/" + "a" * 32 + "/", "novnc/", "novnc/vnc.html", "novnc/core/../vnc.html",
        "novnc/core/..%2fvnc.html", "novnc/core/link.js", "novnc/app/ui.js",
        "novnc/core/.hidden.js", "page.js/", "nothing",
    ]:
        status = get(path)[0]
        assert status == 404, (path, status)
    # As they stand, without anybody who tidies them up first.
    for path in [
        f"{PLACE.path}novnc/core/../../../../etc/passwd", f"{PLACE.path}novnc/core//rfb.js",
        f"{PLACE.path}novnc/core/./rfb.js", "/../../etc/passwd",
    ]:
        assert raw(path) == 404, path
    assert raw(PLACE.path, host="evil.example") == 421
    assert raw(PLACE.path, host=f"evil.example:{PLACE.port}") == 421
    assert raw(PLACE.path, host=f"localhost:{PLACE.port}") == 200
    assert raw(PLACE.path, method="POST") == 405
    assert raw(f"{PLACE.path}screen") == 400


def raw(path, host=HOST, method="GET"):
    import http.client
    connection = http.client.HTTPConnection(PLACE.hostname, PLACE.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def socket(name, origin=ORIGIN, protocols=None):
    url = urllib.parse.urljoin(PAGE, name).replace("http:", "ws:")
    return websockets.connect(url, origin=origin, subprotocols=protocols, max_size=None)


class Stream:
    """The bytes of binary messages."""

    def __init__(self, socket):
        self.socket, self.have, self.told = socket, b"", []

    async def more(self):
        message = await asyncio.wait_for(self.socket.recv(), 20)
        if isinstance(message, str):
            self.told.append(json.loads(message))
        else:
            self.have += message

    async def read(self, count):
        while len(self.have) < count:
            await self.more()
        part, self.have = self.have[:count], self.have[count:]
        return part

    async def until(self, text):
        while text not in self.have:
            await self.more()

    async def state(self, word):
        while not any(told["state"] == word for told in self.told):
            await self.more()


async def greet(stream):
    """RFB 3.8 as noVNC speaks it."""
    send = stream.socket.send
    assert await stream.read(12) == b"RFB 003.008\n"
    await send(b"RFB 003.008\n")
    assert await stream.read(2) == b"\x01\x01"
    await send(b"\x01")
    assert await stream.read(4) == bytes(4)
    await send(b"\x01")
    start = await stream.read(24)
    width, height = int.from_bytes(start[:2], "big"), int.from_bytes(start[2:4], "big")
    await stream.read(int.from_bytes(start[20:], "big"))
    return width, height


async def pixel(stream):
    await stream.socket.send(bytes([3, 0, 0, 0, 0, 0, 0, 1, 0, 1]))
    head = await stream.read(16)
    assert head[:4] == bytes([0, 0, 0, 1]) and head[12:] == bytes(4), head
    return await stream.read(4)


async def screen():
    async with socket("screen", protocols=["binary"]) as one:
        assert one.subprotocol == "binary"
        stream = Stream(one)
        assert await greet(stream) == (640, 400)
        await one.send(bytes([4, 1, 0, 0]) + 0x00785634.to_bytes(4, "big"))
        # The key is on its way while the first pictures come.
        for _ in range(200):
            if (await pixel(stream))[:3] == bytes([255 - 0x78, 0x56, 0x34]):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the key never came")
        # What is copied there comes back from the guest.
        await one.send(bytes([6, 0, 0, 0, 0, 0, 0, 5]) + b"hello")
        assert await stream.read(13) == bytes([3, 0, 0, 0, 0, 0, 0, 5]) + b"hello"
    for origin in ["http://evil.example", "null", f"https://{HOST}"]:
        for name in ["screen", "serial"]:
            try:
                async with socket(name, origin=origin):
                    raise AssertionError(f"{origin} may connect")
            except websockets.exceptions.InvalidStatusCode as error:
                assert error.status_code == 403, error


async def serial():
    async with socket("serial") as one:
        stream = Stream(one)
        # What it wrote before anybody looked.
        await stream.until(b"Run /init")
        await stream.state("connected")
        await one.send(b"\rroot\r")
        await stream.until(b"Password: ")
        async with socket("serial", origin=None) as two:
            other = Stream(two)
            await other.until(b"Password: ")
            await other.state("connected")
            await two.send(b"secret\recho it is shared\r")
            await stream.until(b"it is shared\r\n")
            await other.until(b"it is shared\r\n")
        await one.send(b"stty rows 33 cols 99\rstty size\r")
        await stream.until(b"\r\n33 99\r\n")


files()
refusals()
asyncio.run(screen())
asyncio.run(serial())
print("done")
