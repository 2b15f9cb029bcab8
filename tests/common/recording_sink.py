"""A mail server in a process of its own: notes the number that is the sender of each message in a file before it says 250.
It refuses the recipient nobody, and messages by their number, some for good and some for now.

recording_sink.py ADDRESS PORT FILE
"""

import os
import socketserver
import sys

RECORD = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Session(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 sink.test")
        sender = None
        while line := self.rfile.readline():
            command = line.strip().decode()
            verb = command[:4].upper()
            if verb == "EHLO":
                self.say("250-sink.test")
                self.say("250 PIPELINING")
            elif verb == "DATA":
                self.say("354 Go on")
                while (line := self.rfile.readline()) != b".\r\n":
                    if not line:
                        return
                if int(sender) % 11 == 7:
                    self.say("554 5.6.0 Not this one")
                elif int(sender) % 13 == 5:
                    self.say("451 4.3.0 Not now")
                else:
                    os.write(RECORD, sender.encode() + b"\n")
                    self.say("250 2.0.0 Noted")
            elif verb == "RCPT" and "<nobody@" in command:
                self.say("550 5.1.1 There is nobody")
            elif verb == "QUIT":
                self.say("221 2.0.0 Bye")
                return
            else:
                if verb == "MAIL":
                    sender = command[len("MAIL FROM:<"):].split("@")[0]
                self.say("250 2.0.0 Ok")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def serve():
    try:
        Server((sys.argv[1], int(sys.argv[2])), Session).serve_forever()
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    serve()
