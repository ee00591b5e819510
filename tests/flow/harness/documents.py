"""What network servers publish: ChirpStack v4 and v3 (both JSON marshalers)
and The Things Stack v3. One uplink, told by each of them."""

import base64
import json
import uuid
from dataclasses import dataclass, field

# Elvaco CMi4160, FPort 2, message 1E: the worked example of its public codec.
GOLDEN = bytes.fromhex(
    "1e 0406 8fa10100 0413 84b71e00 022b cf0f 023b 5d00 025a 1003"
    "025e 9801 0779 82253269 a511 40 04 01fd17 00")
GOLDEN_VALUES = {
    "6-0:1.0.0": ("106895", "kWh"),
    "6-0:2.0.0": ("2013.060", "m3"),
    "6-0:8.0.0": ("4.047", "kW"),
    "6-0:9.0.0": ("0.093", "m3/h"),
    "6-0:10.0.0": ("78.4", "Cel"),
    "6-0:11.0.0": ("40.8", "Cel"),
    "0-0:96.1.0": ("69322582", "1"),
    "0-0:97.97.0": ("0", "1"),
}


@dataclass
class Uplink:
    dev_eui: str
    payload: bytes = GOLDEN
    counter: int = 7
    port: int = 2
    dev_addr: str = "01ab23cd"
    time: str = "2026-01-15T12:00:00.123456+00:00"
    dedup_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def _data(self):
        return base64.b64encode(self.payload).decode()

    def chirpstack4(self):
        topic = f"application/app/device/{self.dev_eui}/event/up"
        return topic, json.dumps({
            "deduplicationId": self.dedup_id,
            "time": self.time,
            "deviceInfo": {
                "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
                "applicationId": "app", "deviceName": "meter",
                "devEui": self.dev_eui, "deviceClassEnabled": "CLASS_A",
                "tags": {}},
            "devAddr": self.dev_addr, "adr": True, "dr": 5,
            "fCnt": self.counter, "fPort": self.port, "confirmed": False,
            "data": self._data(),
            "rxInfo": [
                {"gatewayId": "0016c001f153a14c", "rssi": -91, "snr": 5.2},
                {"gatewayId": "0016c001f153a14d", "rssi": -77, "snr": 8.8}],
            "txInfo": {"frequency": 868100000, "modulation": {"lora": {
                "bandwidth": 125000, "spreadingFactor": 7,
                "codeRate": "CR_4_5"}}}})

    def _chirpstack3(self, eui):
        return {"applicationID": "123", "applicationName": "heat",
                "deviceName": "meter", "devEUI": eui, "adr": True,
                "fCnt": self.counter, "fPort": self.port,
                "data": self._data()}

    def chirpstack3(self):
        """Marshaler json_v3: hexadecimal EUIs."""
        topic = f"application/123/device/{self.dev_eui}/event/up"
        document = self._chirpstack3(self.dev_eui)
        document["rxInfo"] = [{"gatewayID": "0016c001f153a14c", "rssi": -57,
                               "loRaSNR": 10}]
        document["txInfo"] = {"frequency": 868100000, "dr": 5}
        return topic, json.dumps(document)

    def chirpstack3_protobuf_json(self):
        """Marshaler json: EUIs in base64."""
        topic = f"application/123/device/{self.dev_eui}/event/up"
        encoded = base64.b64encode(bytes.fromhex(self.dev_eui)).decode()
        document = self._chirpstack3(encoded)
        document["devAddr"] = base64.b64encode(
            bytes.fromhex(self.dev_addr)).decode()
        document["objectJSON"] = "{}"
        document["publishedAt"] = self.time
        document["rxInfo"] = [{"gatewayID": "ABbAAfFToUw=", "rssi": -57,
                               "loRaSNR": 10}]
        return topic, json.dumps(document)

    def the_things_stack(self):
        device = f"eui-{self.dev_eui}"
        return f"v3/app@tenant/devices/{device}/up", json.dumps({
            "end_device_ids": {
                "device_id": device,
                "application_ids": {"application_id": "app"},
                "dev_eui": self.dev_eui.upper(),
                "dev_addr": self.dev_addr.upper()},
            "received_at": self.time,
            "uplink_message": {
                "session_key_id": "AYfg8rhha5n+FWx0ZaAprA==",
                "f_port": self.port, "f_cnt": self.counter,
                "frm_payload": self._data(), "received_at": self.time,
                "rx_metadata": [{"gateway_ids": {
                    "gateway_id": "gw", "eui": "0016C001F153A14C"},
                    "rssi": -57, "snr": 10}],
                "settings": {"data_rate": {"lora": {
                    "bandwidth": 125000, "spreading_factor": 7}},
                    "frequency": "868100000"}}})
