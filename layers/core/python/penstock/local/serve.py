"""What runs in the background beside the cloud: `python -m penstock.local.serve front-door|sink …`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from aiohttp import web

from penstock.local.front_door import Doors, front_door_app
from penstock.local.home import LOOPBACK
from penstock.local.logs import keep_bounded
from penstock.local.sink import sink_app

SHUTDOWN_S = 2.0


async def serve(app: web.Application, port: int, logs: Path | None = None) -> None:
    """Serve on loopback until told to end; bodies are passed as they came, compressed or not."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=75,
        shutdown_timeout=SHUTDOWN_S,
        handle_signals=False,
    )
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, backlog=1024).start()
    watch = asyncio.create_task(keep_bounded(logs)) if logs is not None else None
    try:
        await ended.wait()
    finally:
        if watch is not None:
            watch.cancel()
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["front-door", "sink"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, help="where the deploy writes the addresses of the APIs")
    parser.add_argument("--logs", type=Path, help="a folder whose logs are kept bounded")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = sink_app() if given.what == "sink" else front_door_app(Doors(given.state))
    asyncio.run(serve(app, given.port, given.logs))


if __name__ == "__main__":
    main()
