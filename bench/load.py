"""A load generator of raw HTTP/1.1 over kept-open connections, so that the client costs little beside the server.

`python bench/load.py HOST PORT KEY N_USERS RATE SECONDS` asks for slates of random shoppers, open loop at RATE a
second (0: as fast as `CONNECTIONS` allow), and prints one JSON object: latencies from the due time of each request.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

CONNECTIONS = 8


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, key: str) -> bool:
    """One request and its whole answer; whether it was a slate."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    body = await reader.readexactly(length)
    return head.startswith(b"HTTP/1.1 200") and b'"items":[{' in body


async def worker(
    place: tuple[str, int], key: str, due: asyncio.Queue[float | None], n_users: int, took: list[float]
) -> int:
    """Serve the queue of due times over one connection; how many failed."""
    reader, writer = await asyncio.open_connection(*place)
    failed = 0
    while (at := await due.get()) is not None:
        path = f"/v1/recommend/U{random.randrange(n_users)}"
        start = at or time.perf_counter()
        try:
            good = await ask(reader, writer, path, key)
        except (OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(*place)
            good = False
        failed += not good
        took.append(time.perf_counter() - start)
    writer.close()
    return failed


async def load(place: tuple[str, int], key: str, n_users: int, rate: float, seconds: float) -> dict[str, float]:
    """Send for some seconds; percentiles in milliseconds."""
    due: asyncio.Queue[float | None] = asyncio.Queue(maxsize=0 if rate else 2 * CONNECTIONS)
    took: list[float] = []
    workers = [asyncio.create_task(worker(place, key, due, n_users, took)) for _ in range(CONNECTIONS)]
    begin = time.perf_counter()
    if rate:
        for number in range(int(rate * seconds)):
            at = begin + number / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            due.put_nowait(at)
    else:
        while time.perf_counter() - begin < seconds:
            await due.put(0.0)
    for _ in workers:
        await due.put(None)
    failed = sum(await asyncio.gather(*workers))
    spent = time.perf_counter() - begin
    took.sort()
    pick = {
        f"p{share}_ms": round(1000 * took[min(int(len(took) * share / 100), len(took) - 1)], 2) for share in (50, 99)
    }
    return {"requests": len(took), "failed": failed, "rps": round(len(took) / spent, 1), **pick}


if __name__ == "__main__":
    host, port, key, n_users, rate, seconds = sys.argv[1:]
    found = asyncio.run(load((host, int(port)), key, int(n_users), float(rate), float(seconds)))
    sys.stdout.write(json.dumps(found) + "\n")
