"""Uploads files whose names are not ASCII with requests: URL PLACE USERNAME PASSWORD, where PLACE is `basic` or `form`."""

import sys

import requests

url, place, username, password = sys.argv[1:]
fields = {"to": "a@example.com"}
if place == "form":
    fields.update(api_user=username, api_key=password)
answer = requests.post(
    url,
    data=fields,
    files={"files[résumé.pdf]": ("résumé.pdf", b"%PDF"), "plain": ("résumé.pdf", b"%PDF")},
    auth=(username, password) if place == "basic" else None,
)
print(answer.status_code, answer.text)
