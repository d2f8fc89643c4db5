"""Runs a program on a terminal of 100 by 20: TEXT COMMAND ... -- PROGRAM ARGUMENT ...

Waits for each text, then runs the shell command; prints all that was seen, and ends as the program.
"""
import fcntl, os, pty, select, struct, subprocess, sys, termios
deeds = list(zip(sys.argv[1:sys.argv.index("--")][::2], sys.argv[1:sys.argv.index("--")][1::2]))
command = sys.argv[sys.argv.index("--") + 1:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
    os.execv(command[0], command)
seen, start = b"", 0
def more():
    global seen
    if not select.select([fd], [], [], 60)[0]:
        sys.exit("silent after: " + seen[start:].decode(errors="replace"))
    try:
        part = os.read(fd, 4096)
    except OSError:
        part = b""
    seen += part
    return part
for text, deed in deeds:
    while text.encode() not in seen[start:]:
        if not more():
            sys.stdout.buffer.write(seen)
            sys.exit("ended before: " + text)
    start = seen.index(text.encode(), start) + len(text)
    if deed:
        subprocess.run(["/bin/sh", "-c", deed], check=True, stdout=subprocess.DEVNULL)
while more():
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
