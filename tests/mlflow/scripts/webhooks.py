"""Webhooks: made, listed, changed, deleted. None of them is ever sent here: they are disabled or see no event."""

from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent, WebhookStatus
from observing import NAME, attempt, see

client = MlflowClient()
CREATED = WebhookEvent(WebhookEntity.REGISTERED_MODEL, WebhookAction.CREATED)
TAGGED = WebhookEvent(WebhookEntity.PROMPT_TAG, WebhookAction.DELETED)
URL = "https://8.8.8.8/hook"


def view(hook):
    return [
        hook.name,
        hook.url,
        sorted([event.entity.value, event.action.value] for event in hook.events),
        hook.description,
        str(hook.status),
        hook.secret,
    ]


hook = client.create_webhook(
    name=f"{NAME}-one", url=URL, events=[TAGGED], description="what it is", secret="hidden", status=WebhookStatus.DISABLED
)
see("made", view(hook))
attempt("get", lambda: view(client.get_webhook(hook.webhook_id)))
attempt("get none", lambda: client.get_webhook("none"))
attempt(
    "change",
    lambda: view(client.update_webhook(hook.webhook_id, name=f"{NAME}-two", events=[TAGGED, CREATED], description="other")),
)
attempt("change none", lambda: client.update_webhook("none", name="x"))
for number in range(3):
    client.create_webhook(name=f"{NAME}-{number}", url=URL, events=[TAGGED], status=WebhookStatus.DISABLED)


def mine(**options):
    return sorted(item.name for item in client.list_webhooks(**options) if item.name.startswith(NAME))


attempt("list", mine)
page = client.list_webhooks(max_results=2)
see("a page", [len(page), bool(page.token)])
attempt("too many", lambda: mine(max_results=1001))
for url in [
    "http://8.8.8.8/x",
    "https://127.0.0.1/x",
    "https://10.0.0.1/x",
    "https://169.254.169.254/latest",
    "https://[::1]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://0.0.0.0/",
    "https://localhost/x",
    "ftp://8.8.8.8/x",
    "nonsense",
    "https://",
    "https://192.168.1.1:8080/x",
    "https://100.64.0.1/x",
    "https://2130706433/",
]:
    attempt(f"to {url}", lambda url=url: client.create_webhook(name=f"{NAME}-x", url=url, events=[TAGGED]))
attempt("no events", lambda: client.create_webhook(name=f"{NAME}-x", url=URL, events=[]))
for name in ["", "-x", "x" * 64, "a b", "a/b", "ü"]:
    attempt(f"named {name[:5]!r}", lambda name=name: client.create_webhook(name=name, url=URL, events=[TAGGED]))
for item in client.list_webhooks():
    if item.name.startswith(NAME):
        client.delete_webhook(item.webhook_id)
attempt("delete again", lambda: client.delete_webhook(hook.webhook_id))
attempt("nothing is left", mine)
