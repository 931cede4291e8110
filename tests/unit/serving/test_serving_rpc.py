"""The gRPC door in this process: whose messages may come when, what is counted, and gRPC's own health protocol."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest

from tidegate.errors import UnavailableError, UsageError
from tidegate.serving import rpc
from tidegate.serving.admission import OverloadedError
from tidegate.serving.protocols import grpc_health, oip_grpc

INFER = "/inference.GRPCInferenceService/ModelInfer"


class Sending:
    """A call whose message comes when it is sent."""

    def __init__(self):
        self.message = asyncio.get_running_loop().create_future()

    async def read(self):
        return await asyncio.shield(self.message)


def over_door(app, talk):
    async def run():
        door = rpc.GrpcDoor(app, "127.0.0.1", 0, max_bytes=1 << 24)
        await door.start()
        async with grpc.aio.insecure_channel(door.address.removeprefix("grpc://")) as channel:
            found = await talk(channel)
        await door.stop()
        return found

    return asyncio.run(run())


def asking(carrier):
    message = oip_grpc.messages()["ModelInferRequest"](model_name="delay")
    raw = {"wind": ("FP64", b"\0" * 8), "seats": ("INT64", b"\x64" + b"\0" * 7)}
    raw["carrier"] = ("BYTES", len(carrier).to_bytes(4, "little") + carrier)
    for name, (kind, data) in raw.items():
        message.inputs.add(name=name, datatype=kind, shape=[1])
        message.raw_input_contents.append(data)
    return message.SerializeToString()


def test_large_messages_are_few_at_a_time_and_small_ones_do_not_wait_for_them(monkeypatch):
    monkeypatch.setattr(rpc, "_QUICK_SECONDS", 0.01)
    monkeypatch.setattr(rpc, "BODY_SECONDS", 0.1)

    async def run():
        reading = rpc._Reading(1)
        first, second, small, nothing = (Sending() for _ in range(4))
        small.message.set_result(b"small")
        nothing.message.set_result(grpc.aio.EOF)
        slow = [asyncio.create_task(reading.read(each)) for each in (first, second)]
        await asyncio.sleep(0.03)
        assert await reading.read(small) == b"small"
        with pytest.raises(UsageError, match="bad-request"):
            await reading.read(nothing)
        with pytest.raises(OverloadedError):
            await slow[1]
        first.message.set_result(b"large")
        assert await slow[0] == b"large"
        with pytest.raises(UnavailableError, match="slow-body"):
            await reading.read(second)
        assert await reading.read(small) == b"small"

    asyncio.run(run())


def test_messages_count_until_they_are_answered(shop):
    app, _, _ = shop.app()

    async def talk(channel):
        call = channel.unary_unary(INFER)
        assert await call(asking(b"UA" * 50_000))
        assert app.arriving.bytes == 0
        app.arriving.bytes = app.arriving.max_bytes
        assert await call(asking(b"UA"))  # a small one waits for nobody
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(asking(b"UA" * 50_000))
        return caught.value

    error = over_door(app, talk)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "[overloaded]" in error.details()
    assert app.arriving.bytes == app.arriving.max_bytes


def test_health_is_told_as_probes_ask_it(shop, monkeypatch):
    monkeypatch.setattr(rpc, "_WATCH_SECONDS", 0.01)
    app, _, _ = shop.app()
    request, response = grpc_health.messages()

    async def talk(channel):
        check = channel.unary_unary(f"/{grpc_health.SERVICE}/Check", request.SerializeToString, response.FromString)
        watch = channel.unary_stream(f"/{grpc_health.SERVICE}/Watch", request.SerializeToString, response.FromString)
        for service in ("", "delay", oip_grpc.SERVICE):
            assert (await check(request(service=service))).status == grpc_health.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(request(service="dela"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        seen, unknown = watch(request()), watch(request(service="dela"))
        assert [(await anext(aiter(each))).status for each in (seen, unknown)] == [
            grpc_health.SERVING,
            grpc_health.SERVICE_UNKNOWN,
        ]
        app.draining = True
        assert (await check(request())).status == grpc_health.NOT_SERVING
        return [each.status async for each in seen]  # it ends: the server can stop

    assert over_door(app, talk) == [grpc_health.NOT_SERVING]
