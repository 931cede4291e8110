"""Webhooks as Standard Webhooks says, held against its own library; and chats by Apprise."""

import base64
import ipaddress
import json
import time

import pytest
from standardwebhooks.webhooks import Webhook as Reference

from tidegate.clock import Clock
from tidegate.errors import UsageError
from tidegate.notices import Chat, DeliveryError, Webhook, allowing, notice_targets
from tidegate.notices.targets import signature, signing_secret
from tidegate.records.notice import Notice
from tidegate.settings import Settings

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a test secret").decode()
LINE = allowing([ipaddress.ip_network("127.0.0.0/8")])
NOTICE = Notice(id="delay.7.abc", type="release.promoted", at=1_000_000, title="delay: promoted version 2", data={"version": 2})


def test_the_published_vector():
    # Standard Webhooks, reference libraries' tests (libraries/python/tests/test_webhooks.py: test_sign_function).
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_reference_library_takes_what_is_sent(receiver):
    Webhook(receiver.url, SECRET, Clock(), LINE).send(NOTICE)
    [(headers, body)] = receiver.got
    assert Reference(SECRET).verify(body, headers) == json.loads(body)
    assert json.loads(body) == {
        "type": "release.promoted",
        "timestamp": "1970-01-01T00:00:01+00:00",
        "data": {"version": 2, "title": "delay: promoted version 2", "text": "", "urgent": False},
    }
    assert headers["webhook-id"] == "delay.7.abc"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


@pytest.mark.parametrize("status", [302, 400, 410, 429, 500])
def test_what_is_not_taken_is_told_and_no_redirect_is_followed(receiver, status):
    receiver.statuses = [status]
    with pytest.raises(DeliveryError, match=f"it answered {status}") as error:
        Webhook(receiver.url, SECRET, Clock(), LINE).send(NOTICE)
    assert len(receiver.got) == 1
    assert error.value.wait == (7200 if status == 429 else 0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "https://169.254.169.254/", "https://[bad/"])
def test_what_cannot_or_may_not_be_reached_is_told(url):
    with pytest.raises(DeliveryError):
        Webhook(url, SECRET, Clock(), LINE).send(NOTICE)


@pytest.mark.parametrize("secret", ["", "plain", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", base64.b64encode(b"x" * 32).decode()])
def test_what_is_no_secret_signs_nothing_and_is_not_repeated(receiver, secret):
    with pytest.raises(UsageError) as error:
        signing_secret(secret)
    assert not secret or secret not in str(error.value).replace("whsec_ ", "").replace("'whsec_'", "") or secret == "whsec_"
    with pytest.raises(DeliveryError, match="no secret of a webhook"):
        Webhook(receiver.url, secret, Clock(), LINE).send(NOTICE)
    assert receiver.got == []


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # one of apprise's plugins
def test_a_chat_is_told_by_apprise(receiver):
    Chat(receiver.url.replace("http://", "json://")).send(NOTICE)
    [(_, body)] = receiver.got
    assert json.loads(body)["title"] == "delay: promoted version 2"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
@pytest.mark.parametrize("url", ["json://127.0.0.1:9/", "nothing://at/all", "not an address"])
def test_a_chat_that_does_not_take_it_is_told_without_its_address(url):
    with pytest.raises(DeliveryError) as error:
        Chat(url).send(NOTICE)
    assert "127.0.0.1" not in str(error.value)


def test_the_settings_name_everybody_and_show_nobody():
    settings = Settings(
        webhooks=["https://hooks.example.org/secret-path"], webhook_secret=SECRET, notify=["slack://token"], webhook_networks=["10.0.0.0/8"]
    )  # fmt: skip
    targets = notice_targets(settings, Clock())
    assert [target.name for target in targets] == ["webhook at hooks.example.org", "slack by apprise"]
    assert "secret-path" not in repr(settings)
    assert not any("token" in target.id + target.name for target in targets)
