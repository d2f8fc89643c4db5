"""Where in the answer to AcquireTicket a digit of the thumbprint stands which, with one byte
corrupted as the simulator does it, is still one: URL."""
import re, ssl, sys, urllib.request

CONTEXT = ssl._create_unverified_context()
cookie = None

def call(method, kind, this, inner=""):
    global cookie
    body = ('<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>'
            f'<{method} xmlns="urn:vim25"><_this type="{kind}">{this}</_this>{inner}</{method}>'
            "</Body></Envelope>")
    request = urllib.request.Request(sys.argv[1], body.encode(), {"Content-Type": "text/xml"})
    if cookie:
        request.add_header("Cookie", cookie)
    with urllib.request.urlopen(request, context=CONTEXT) as answer:
        cookie = cookie or (answer.headers.get("Set-Cookie") or "").split(";")[0]
        return answer.read().decode()

call("Login", "SessionManager", "SessionManager",
     "<userName>user</userName><password>pass</password>")
inner = "<inventoryPath>DC0/vm/app01</inventoryPath>"
vm = re.search(r"<returnval[^>]*>([^<]+)<", call("FindByInventoryPath", "SearchIndex", "SearchIndex", inner))[1]
text = call("AcquireTicket", "VirtualMachine", vm, "<ticketType>webmks</ticketType>")
print(text.index("<sslThumbprint>") + len("<sslThumbprint>"))
