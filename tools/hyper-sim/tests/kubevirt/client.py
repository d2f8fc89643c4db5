"""A user with other people's libraries: client.py KUBECONFIG NAMESPACE."""

import asyncio
import gzip
import http.client
import json
import os
import ssl
import struct
import sys
import time
import urllib.parse
import zlib

import websockets
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

KUBECONFIG, SPACE = sys.argv[1:]
with open(KUBECONFIG) as file:
    CONFIG = json.load(file)
SERVER = CONFIG["clusters"][0]["cluster"]["server"]
TOKEN = CONFIG["users"][0]["user"]["token"]
config.load_kube_config(KUBECONFIG)
OBJECTS = client.CustomObjectsApi()
CORE = client.CoreV1Api()
CA = os.path.join(os.path.dirname(KUBECONFIG), "ca.pem")
TRUST = ssl.create_default_context(cafile=CA)


def expect(condition, words):
    if not condition:
        sys.exit(f"not so: {words}")


def machine(name, claim=None):
    volume = {"containerDisk": {"image": "debian"}}
    if claim:
        volume = {"persistentVolumeClaim": {"claimName": claim}}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {
            "runStrategy": "Always",
            "template": {
                "spec": {
                    "domain": {"devices": {}, "memory": {"guest": "1Gi"}},
                    "volumes": [{"name": "root", **volume}],
                }
            },
        },
    }


def create(group, version, plural, body):
    return OBJECTS.create_namespaced_custom_object(group, version, SPACE, plural, body)


def until(group, version, plural, name, wanted):
    """Watches an object until it is as wanted."""
    stream = watch.Watch().stream(
        OBJECTS.list_namespaced_custom_object, group, version, SPACE, plural,
        field_selector=f"metadata.name={name}", timeout_seconds=60)
    for event in stream:
        if wanted(event["object"].get("status", {})):
            return event["object"]
    sys.exit(f"{plural} {name} is not as wanted")


def fetch(url, headers=(), method="GET", body=None):
    """The answer of a server: status, headers, body, and whether the body was whole."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(place.netloc, context=TRUST, timeout=60)
    path = place.path + (f"?{place.query}" if place.query else "")
    connection.request(method, path, body=body, headers=dict(headers))
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read(), True
    except http.client.IncompleteRead as error:
        return answer.status, answer.headers, error.partial, False
    except (ConnectionError, ssl.SSLError):
        return answer.status, answer.headers, b"", False


def fault(rule):
    status, _, body, _ = fetch(f"{SERVER}/hyper-sim/faults", {"Authorization": f"Bearer {TOKEN}"},
                               "POST", rule)
    expect(status == 201, body)


def socket(what, protocols=("plain.kubevirt.io",)):
    url = (f"{SERVER.replace('https', 'wss')}/apis/subresources.kubevirt.io/v1/namespaces/"
           f"{SPACE}/virtualmachineinstances/{what}")
    return websockets.connect(url, ssl=TRUST, subprotocols=list(protocols), max_size=None,
                              extra_headers={"Authorization": f"Bearer {TOKEN}"})


class Reader:
    """A stream of bytes out of messages."""

    def __init__(self, line):
        self.line, self.bytes = line, b""

    async def read(self, count):
        while len(self.bytes) < count:
            self.bytes += await asyncio.wait_for(self.line.recv(), 30)
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    async def until(self, text):
        while text not in self.bytes:
            self.bytes += await asyncio.wait_for(self.line.recv(), 30)
        before, _, self.bytes = self.bytes.partition(text)
        return before


async def console():
    async with socket("web01/console") as line:
        expect(line.subprotocol == "plain.kubevirt.io", "the protocol is agreed on")
        reader = Reader(line)
        await line.send("text is skipped\r")
        await line.send(b"\r")
        await reader.until(b"web01 login: ")
        await line.send(b"root\rsecret\r")
        before = await reader.until(b"root@web01:~# ")
        expect(b"secret" not in before, "a password is not shown")
        await line.send(b"echo hello world\r")
        await reader.until(b"\r\nhello world\r\n")
        await line.ping()
        # A second one ends the first one in order.
        async with socket("web01/console") as second:
            try:
                while True:
                    await asyncio.wait_for(line.recv(), 30)
            except websockets.ConnectionClosed as closed:
                expect(closed.code == 1000, f"code {closed.code}")
            await second.send(b"\r")
            await Reader(second).until(b"root@web01:~# ")
    fault(f"op=console,object={SPACE}/virtualmachineinstances/web01,max=1,cut=20")
    async with socket("web01/console") as line:
        await line.send(b"echo 0123456789012345678901234567890123456789\r")
        got = b""
        try:
            while True:
                got += await asyncio.wait_for(line.recv(), 30)
        except websockets.ConnectionClosed as closed:
            expect(closed.code == 1006 and len(got) == 20, f"{closed.code} {got}")


async def screen():
    """RFB 3.8, by hand."""
    async with socket("web01/vnc") as line:
        reader = Reader(line)
        expect(await reader.read(12) == b"RFB 003.008\n", "the version")
        await line.send(b"RFB 003.008\n")
        expect(await reader.read(2) == b"\x01\x01", "no password")
        await line.send(b"\x01")
        expect(await reader.read(4) == bytes(4), "it is let in")
        await line.send(b"\x01")
        width, height = struct.unpack(">HH", await reader.read(4))
        await reader.read(16)
        await reader.read(struct.unpack(">I", await reader.read(4))[0])

        async def update(incremental):
            await line.send(struct.pack(">BBHHHH", 3, incremental, 0, 0, width, height))
            expect((await reader.read(4))[3] == 1, "a rectangle")
            await reader.read(12)
            return await reader.read(width * height * 4)

        first = await update(0)
        await line.send(struct.pack(">BBHI", 4, 1, 0, ord("x")))
        second = await update(1)
        expect(first != second, "a key is seen")
        try:
            async with socket("web01/vnc?preserveSession=true"):
                sys.exit("a second viewer was let in")
        except websockets.InvalidStatusCode as refused:
            expect(refused.status_code == 503, f"{refused.status_code}")
        async with socket("web01/vnc?preserveSession=false") as other:
            expect(await Reader(other).read(12) == b"RFB 003.008\n", "another viewer")
            try:
                await asyncio.wait_for(line.recv(), 30)
                sys.exit("the first viewer was kept")
            except websockets.ConnectionClosed:
                pass
    return second


def screenshot(pixels):
    for _ in range(50):
        status, headers, png, _ = fetch(
            f"{SERVER}/apis/subresources.kubevirt.io/v1/namespaces/{SPACE}/"
            "virtualmachineinstances/web01/vnc/screenshot?moveCursor=false",
            {"Authorization": f"Bearer {TOKEN}"})
        if status != 503:
            break
        time.sleep(0.1)
    expect(status == 200 and headers["Content-Type"] == "image/png", f"{status} {png}")
    width, height = struct.unpack(">II", png[16:24])
    at = png.index(b"IDAT")
    length = struct.unpack(">I", png[at - 4:at])[0]
    rows = zlib.decompress(png[at + 4:at + 4 + length])
    expect(len(rows) == height * (1 + 3 * width), "the rows")
    # The first pixel as a viewer got it: blue, green, red and nothing.
    expect(rows[1:4] == pixels[2::-1], "the same picture")


def upload():
    create("cdi.kubevirt.io", "v1beta1", "datavolumes", {
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
        "metadata": {"name": "sent"},
        "spec": {"source": {"upload": {}},
                 "storage": {"resources": {"requests": {"storage": "16Mi"}}}},
    })
    until("cdi.kubevirt.io", "v1beta1", "datavolumes", "sent",
          lambda status: status.get("phase") == "UploadReady")
    token = create("upload.cdi.kubevirt.io", "v1beta1", "uploadtokenrequests", {
        "apiVersion": "upload.cdi.kubevirt.io/v1beta1", "kind": "UploadTokenRequest",
        "metadata": {"name": "sent"}, "spec": {"pvcName": "sent"},
    })["status"]["token"]
    proxy = OBJECTS.get_cluster_custom_object("cdi.kubevirt.io", "v1beta1", "cdiconfigs", "config")
    url = f"https://{proxy['status']['uploadProxyURL']}/v1beta1/upload"
    content = os.urandom(3 << 20) + bytes(5 << 20)
    expect(fetch(url, {"Authorization": "Bearer wrong"}, "POST", b"x")[0] == 401, "wrong token")
    bearer = {"Authorization": f"Bearer {token}"}
    large = fetch(url, bearer, "POST", bytes(17 << 20))
    expect(large[0] == 400 and b"larger" in large[2], f"{large}")
    status, _, body, _ = fetch(url, bearer, "POST", gzip.compress(content, 1))
    expect(status == 200, f"{status} {body}")
    until("cdi.kubevirt.io", "v1beta1", "datavolumes", "sent",
          lambda status: status.get("phase") == "Succeeded")
    return content


def export(content):
    CORE.create_namespaced_secret(SPACE, {"metadata": {"name": "key"},
                                          "stringData": {"token": "abc"}})
    create("export.kubevirt.io", "v1", "virtualmachineexports", {
        "apiVersion": "export.kubevirt.io/v1", "kind": "VirtualMachineExport",
        "metadata": {"name": "out"},
        "spec": {"tokenSecretRef": "key", "source": {
            "apiGroup": "", "kind": "PersistentVolumeClaim", "name": "sent"}},
    })
    ready = until("export.kubevirt.io", "v1", "virtualmachineexports", "out",
                  lambda status: status.get("phase") == "Ready")
    link = ready["status"]["links"]["external"]
    expect(link["cert"] == open(CA).read(), "the authority's certificate")
    formats = {it["format"]: it["url"] for it in link["volumes"][0]["formats"]}
    token = {"x-kubevirt-export-token": "abc"}
    raw = formats["raw"]
    expect(fetch(raw)[0] == 401, "no token")
    expect(fetch(f"{raw}?x-kubevirt-export-token=abc")[2] == content, "by the query")
    status, headers, body, _ = fetch(raw, {**token, "Range": "bytes=1000-2999"})
    expect((status, body) == (206, content[1000:3000]), "a range")
    expect(headers["Content-Range"] == f"bytes 1000-2999/{len(content)}", "its place")
    expect(headers["ETag"] is None and headers["Last-Modified"] is None, "no validators")
    expect(fetch(raw, {**token, "Range": f"bytes={len(content)}-"})[0] == 416, "nothing there")
    status, headers, body, _ = fetch(raw, token, "HEAD")
    expect((status, headers["Content-Length"]) == (200, str(len(content))), "its size")
    status, headers, body, _ = fetch(formats["gzip"], {**token, "Range": "bytes=0-9"})
    expect(status == 200 and headers["Content-Length"] is None, "packed on the way")
    expect(gzip.decompress(body) == content, "the same bytes")
    fault(f"op=export,object={SPACE}/virtualmachineexports/out,max=1,cut=1500000,lose")
    _, _, body, whole = fetch(raw, token)
    expect(not whole and body == content[:len(body)], "it breaks off")
    expect(fetch(raw, token)[0] == 503, "no server for a while")
    for _ in range(100):
        status, _, body, _ = fetch(raw, {**token, "Range": "bytes=1500000-"})
        if status != 503:
            break
        time.sleep(0.1)
    expect((status, body) == (206, content[1500000:]), "another server goes on")
    status, _, body, _ = fetch(link["manifests"][0]["url"], {**token, "Accept": "application/json"})
    expect(json.loads(body)["items"][0]["kind"] == "DataVolume", "the manifest")


def main():
    create("kubevirt.io", "v1", "virtualmachines", machine("web01"))
    until("kubevirt.io", "v1", "virtualmachines", "web01",
          lambda status: status.get("printableStatus") == "Running")
    asyncio.run(console())
    screenshot(asyncio.run(screen()))
    export(upload())
    try:
        OBJECTS.get_namespaced_custom_object("kubevirt.io", "v1", SPACE, "virtualmachines", "no")
        sys.exit("there is a machine that is not there")
    except ApiException as error:
        expect(error.status == 404, f"{error.status}")
    print("all well")


main()
