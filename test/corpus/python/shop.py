"""A shop's prices: the smallest application that has something to compute."""

from decimal import Decimal, InvalidOperation

from flask import Flask, abort, request

app = Flask(__name__)


@app.get("/healthz")
def health():
    return "ok\n"


@app.get("/total")
def total():
    """The price of so many pieces: /total?price=1.25&pieces=4 is 5.00."""
    try:
        price = Decimal(request.args["price"])
        pieces = int(request.args["pieces"])
    except (InvalidOperation, ValueError):
        abort(400)
    return {"total": f"{price * pieces:.2f}"}
