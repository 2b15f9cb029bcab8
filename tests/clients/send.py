"""Sends a mail with the client as its users do: PORT FILE KEY, or PORT FILE USERNAME PASSWORD."""

import sys

import sendgrid

port, file, *login = sys.argv[1:]
client = sendgrid.SendGridClient(*login, host="http://127.0.0.1", port=port)
message = sendgrid.Mail(
    to=["a@example.com", "b@example.com"],
    subject="Grüße & more=1",
    text="Hello; world",
    html="<b>Hello</b>",
    from_email="c@example.com",
)
message.add_attachment("a b.bin", file)
status, answer = client.send(message)
print(status, answer.decode())
