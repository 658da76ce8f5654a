"""An app with a sign-in of its own: people start jobs and watch those of their organisation, and of no other.

With NATS at hand (`nats-server -js` is one): `milepost worker examples.jobs`, and `uvicorn examples.fastapi_app:app`.
Programs show an API key in `X-API-Key`; browsers sign in with the same key, and have a session cookie from then on.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Final, NamedTuple
from urllib.parse import parse_qs

from fastapi import Cookie, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from milepost.fastapi import Grant, Milepost


class User(NamedTuple):
    """Somebody the app knows."""

    name: str
    organisation: str


API_KEYS: Final = {"key-of-ann": User("ann", "acme"), "key-of-bob": User("bob", "globex")}
SESSIONS: Final[dict[str, User]] = {}


async def current_user(
    x_api_key: Annotated[str | None, Header()] = None, session: Annotated[str | None, Cookie()] = None
) -> User | None:
    """Who asks, by API key or by session; None for a stranger."""
    if x_api_key is not None:
        return API_KEYS.get(x_api_key)
    return SESSIONS.get(session or "")


CurrentUser = Annotated[User | None, Depends(current_user)]


async def grant(user: CurrentUser) -> Grant | None:
    """What Milepost lets them do: everything, among the jobs of their own organisation."""
    if user is None:
        return None
    return Grant(user.organisation, scope={"watch", "submit", "cancel"}, subject=user.name)


milepost = Milepost(grant)
app = FastAPI(title="An app with jobs")
app.include_router(milepost.router, prefix="/progress", tags=["progress"])


@app.get("/", response_class=HTMLResponse)
async def home(user: CurrentUser) -> str:
    """A button and the job it starts; for strangers the sign-in."""
    return SIGN_IN if user is None else JOB


@app.post("/sign-in", response_class=RedirectResponse, status_code=303)
async def sign_in(request: Request) -> RedirectResponse:
    """A session for whoever has a key."""
    form = parse_qs((await request.body()).decode())
    user = API_KEYS.get(form.get("key", [""])[0])
    if user is None:
        raise HTTPException(403, "nobody has this key")
    session = secrets.token_urlsafe()
    SESSIONS[session] = user
    home = RedirectResponse("/", status_code=303)
    # Lax: pages of other sites cannot start or cancel jobs in the name of whoever is signed in here
    home.set_cookie("session", session, httponly=True, samesite="lax")
    return home


@app.post("/sign-out", response_class=RedirectResponse, status_code=303)
async def sign_out(session: Annotated[str, Cookie()] = "") -> RedirectResponse:
    """The session is over, and what streams to its user ends."""
    user = SESSIONS.pop(session, None)
    if user is not None:
        milepost.revoke(user.organisation, user.name)
    return RedirectResponse("/", status_code=303)


SIGN_IN: Final = """<!doctype html>
<title>Sign in</title>
<form method="post" action="/sign-in">
  <label>API key <input name="key" autofocus></label> <button>Sign in</button>
</form>
"""

JOB: Final = """<!doctype html>
<title>A job</title>
<form method="post" action="/sign-out"><button>Sign out</button></form>
<button id="build" disabled>Build</button>
<p id="said" role="status"></p>
<milepost-job></milepost-job>
<script type="module">
  import "/progress/client/element.js";
  import { mounted } from "/progress/client/mounted.js";
  import { submit } from "/progress/client/submit.js";

  const milepost = mounted();
  const shown = document.querySelector("milepost-job");
  const said = document.querySelector("#said");
  const build = document.querySelector("#build");
  shown.hub = milepost;
  build.disabled = false;
  build.addEventListener("click", async () => {
    said.textContent = "";
    try {
      const { jobId } = await submit(milepost, "build", { rows: 3_000_000 });
      shown.setAttribute("job", jobId);
    } catch (error) {
      said.textContent = error.message;
    }
  });
</script>
"""
