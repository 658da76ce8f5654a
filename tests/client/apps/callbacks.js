// A page written against callbacks.

import { followJob } from "milepost/callbacks";

const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

window.mount = () => {
  window.told = [];
  const tell = (name) => (...words) => window.told.push([name, ...words]);
  const following = followJob(
    asked.job,
    {
      onOpen: tell("open"),
      onProgress: tell("progress"),
      onArtifact: tell("artifact"),
      onCompleted: tell("completed"),
      onFailed: tell("failed"),
      onError: (error) => window.told.push(["error", error.code]),
    },
    { url: asked.hub, token: asked.token },
  );
  window.following = following;
  return following.close;
};
