"""Talks with a program on a terminal: TEXT ANSWER ... -- PROGRAM ARGUMENT ...

Waits for each text, then types the answer to it; prints all that was seen, and ends as the program.
"""
import os, pty, sys, select, time
talk = list(zip(sys.argv[1:sys.argv.index("--")][::2], sys.argv[1:sys.argv.index("--")][1::2]))
command = sys.argv[sys.argv.index("--") + 1:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(command[0], command)
seen, start = b"", 0
def more():
    global seen
    if not select.select([fd], [], [], 30)[0]:
        sys.exit("silent after: " + seen[start:].decode(errors="replace"))
    try:
        part = os.read(fd, 4096)
    except OSError:
        part = b""
    seen += part
    return part
for wait, text in talk:
    while wait.encode() not in seen[start:]:
        if not more():
            sys.stdout.buffer.write(seen)
            sys.exit("ended before: " + wait)
    start = seen.index(wait.encode(), start) + len(wait)
    os.write(fd, text.encode().decode("unicode_escape").encode())
while more():
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
