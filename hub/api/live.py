"""The WebSocket that the cockpit listens to: a hello, a full frame, then frames and messages as they come.

In a second in which nothing comes the hello is repeated, so that silence means a lost connection.
"""

import asyncio
import json

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from hub.app import App
from hub.origin import host_allowed, origin_allowed


def router(app: App) -> APIRouter:
    """Return the route ``/live``."""
    routes = APIRouter()

    @routes.websocket("/live")
    async def live(socket: WebSocket) -> None:
        host = socket.headers.get("host")
        # A name that another site rebound to this machine has an origin that equals its host: both are looked at.
        if not (host_allowed(host) and origin_allowed(socket.headers.get("origin"), host)):
            await socket.close(1008, "pages of other sites may not listen")
            return
        await socket.accept()
        client = app.fan.join()
        listener = asyncio.create_task(_until_closed(socket))
        listener.add_done_callback(lambda _: app.fan.leave(client))
        try:
            hello = json.dumps({"type": "hello", "network_sha256": app.network.sha256})
            await socket.send_text(hello)
            if (frame := app.full_frame()) is not None:
                await socket.send_bytes(frame)
                await socket.send_text(json.dumps({"type": "summary", "summary": app.summary()}))
            async for message in client.messages(idle=hello):
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_text(message)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the browser went away while we were sending
        finally:
            app.fan.leave(client)
            listener.cancel()

    return routes


async def _until_closed(socket: WebSocket) -> None:
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        return
