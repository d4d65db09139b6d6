"""Foreign clients say what they make of the broker: aiomqtt (on paho), gmqtt and MQTT.js (with code of their own)."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MESSAGES = 300


@pytest.mark.parametrize("version", ["V311", "V5"])
def test_aiomqtt_gets_what_it_publishes(broker, version):
    aiomqtt = pytest.importorskip("aiomqtt", reason="aiomqtt is not installed: pip install aiomqtt")

    async def talk():
        protocol = getattr(aiomqtt.ProtocolVersion, version)
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=protocol, identifier="aiomqtt") as client:
            await client.subscribe("street/#", qos=2)
            sending = asyncio.gather(*(client.publish(f"street/{k}", str(k), qos=k % 3) for k in range(MESSAGES)))
            heard = []
            async for message in client.messages:
                heard.append(int(message.payload))
                if len(heard) == MESSAGES:
                    break
            await sending
            return heard

    assert sorted(asyncio.run(asyncio.wait_for(talk(), 30))) == list(range(MESSAGES))


@pytest.mark.parametrize("version", [4, 5])
def test_gmqtt_gets_what_it_publishes(broker, version):
    gmqtt = pytest.importorskip("gmqtt", reason="gmqtt is not installed: pip install gmqtt")

    async def talk():
        client, heard, ready, done = gmqtt.Client("gmqtt"), [], asyncio.Event(), asyncio.Event()

        def on_message(_client, _topic, payload, _qos, properties):
            heard.append((int(payload), properties.get("user_property")))
            if len(heard) == MESSAGES:
                done.set()
            return 0

        client.on_message = on_message
        client.on_subscribe = lambda *_: ready.set()
        await client.connect("127.0.0.1", broker.port, version=version)
        client.subscribe("street/#", qos=1)
        await asyncio.wait_for(ready.wait(), 10)
        for k in range(MESSAGES):
            client.publish(f"street/{k}", str(k), qos=k % 2, user_property=("k", str(k)))
        await asyncio.wait_for(done.wait(), 20)
        await client.disconnect()
        return heard

    heard = asyncio.run(talk())
    assert sorted(number for number, _ in heard) == list(range(MESSAGES))
    if version == 5:
        assert all(properties == [("k", str(number))] for number, properties in heard)


SCRIPT = """
const mqtt = require("mqtt");
const [url, version, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const client = mqtt.connect(url, { protocolVersion: version, clientId: "js", reconnectPeriod: 0 });
const heard = [];
client.on("error", (error) => { console.error(String(error)); process.exit(1); });
client.on("connect", () => client.subscribe("street/#", { qos: 2 }, () => {
  for (let k = 0; k < count; k++) client.publish("street/" + k, String(k), { qos: k % 3 });
}));
client.on("message", (topic, payload) => {
  heard.push(Number(payload));
  if (heard.length === count) client.end(false, () => console.log(JSON.stringify(heard)));
});
"""


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("websocket", [False, True])
def test_mqtt_js_gets_what_it_publishes(start_inner, tmp_path, version, websocket):
    modules = os.environ.get("CITYTWIN_TEST_MQTTJS", "")
    node = shutil.which("node")
    if node is None or not Path(modules, "mqtt").is_dir():
        pytest.skip("MQTT.js is not there: npm install mqtt, and CITYTWIN_TEST_MQTTJS=.../node_modules")
    inner = start_inner(websocket=websocket)
    script = tmp_path / "talk.cjs"
    script.write_text(SCRIPT)
    url = f"{'ws' if websocket else 'mqtt'}://127.0.0.1:{inner.port}"
    result = subprocess.run(
        [node, str(script), url, str(version), str(MESSAGES)],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert result.returncode == 0, result.stderr
    assert sorted(json.loads(result.stdout)) == list(range(MESSAGES))
