// What HTML and htmx cannot do: live pictures that begin again, dropped files, a session that is over.
"use strict";

const PAUSE_MS = 3000;
const SNAPSHOT_MS = 1000;
let paused = false;

function again(picture) {
  const url = new URL(picture.src, location.href);
  url.searchParams.set("t", Date.now());
  picture.src = url;
}

function watchPictures() {
  for (const picture of document.querySelectorAll("img[data-stream], img[data-snapshot]")) {
    picture.dataset.source = picture.getAttribute("src");
    picture.addEventListener("error", () => setTimeout(() => paused || again(picture), PAUSE_MS));
    if ("snapshot" in picture.dataset) {
      picture.addEventListener("load", () => setTimeout(() => paused || again(picture), SNAPSHOT_MS));
    }
  }
  const button = document.querySelector("[data-pause]");
  if (!button) return;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    for (const picture of document.querySelectorAll("img[data-source]")) {
      // a snapshot is a still picture of the same camera
      const source = picture.dataset.source.replace("live.mjpeg", paused ? "snapshot.jpg" : "live.mjpeg");
      picture.src = source;
      again(picture);
    }
  });
}

function takeDrops() {
  for (const form of document.querySelectorAll("form.drop")) {
    const input = form.querySelector("input[type=file][multiple]");
    const over = (on) => (event) => {
      event.preventDefault();
      form.classList.toggle("over", on);
    };
    form.addEventListener("dragover", over(true));
    form.addEventListener("dragleave", over(false));
    form.addEventListener("drop", (event) => {
      over(false)(event);
      if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
    });
  }
}

// Pictures by this device's camera go to the form's file field, as chosen files do. Browsers give the camera only to pages
// of this machine or over TLS; elsewhere the button stays hidden.
function takePictures() {
  for (const box of navigator.mediaDevices ? document.querySelectorAll("[data-camera]") : []) {
    const form = box.closest("form");
    const input = form.querySelector("input[type=file]");
    const [button, opened, video, taken] = ["[data-open]", "[data-opened]", "video", "[data-taken]"].map((each) => box.querySelector(each));
    let pictures = 0;

    function close() {
      for (const track of video.srcObject ? video.srcObject.getTracks() : []) track.stop();
      video.srcObject = null;
      opened.hidden = true;
      button.textContent = "Use this device's camera";
      button.setAttribute("aria-expanded", "false");
    }

    async function open() {
      try {
        video.srcObject = await navigator.mediaDevices.getUserMedia({ audio: false, video: { width: { ideal: 1280 }, facingMode: "environment" } });
      } catch (error) {
        tell(`The camera cannot be used (${error.name}): allow it for this page, or choose files.`);
        return;
      }
      await video.play();
      opened.hidden = false;
      button.textContent = "Switch the camera off";
      button.setAttribute("aria-expanded", "true");
    }

    function take() {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      if (!canvas.width) return;
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => {
        const files = new DataTransfer();
        if (input.multiple) for (const file of input.files) files.items.add(file);
        pictures += 1;
        files.items.add(new File([blob], `camera-${pictures}.jpg`, { type: "image/jpeg" }));
        input.files = files.files;
        taken.textContent = `camera-${pictures}.jpg was taken; ${input.files.length} chosen.`;
      }, "image/jpeg", 0.95);
    }

    box.hidden = false;
    button.addEventListener("click", () => (video.srcObject ? close() : open()));
    box.querySelector("[data-take]").addEventListener("click", take);
    form.addEventListener("reset", () => { taken.textContent = ""; });
    window.addEventListener("pagehide", close);
  }
}

function tell(text) {
  const line = document.createElement("p");
  line.className = "error";
  line.textContent = text;
  document.getElementById("alert").replaceChildren(line);
  line.scrollIntoView({ block: "nearest" });
}

function mindAnswers() {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb !== "get") document.getElementById("alert").replaceChildren();
  });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    // the next person must not get the photos of the one before
    if (event.detail.xhr.status === 200 && "reset" in event.target.dataset) event.target.reset();
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const answer = event.detail.xhr;
    const over = answer.status === 401 || new URL(answer.responseURL || location.href, location.href).pathname === "/login";
    if (over) {
      event.detail.shouldSwap = false;
      location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    } else if ((answer.getResponseHeader("content-type") || "").startsWith("application/problem+json")) {
      event.detail.shouldSwap = false;
      tell(JSON.parse(answer.responseText).detail);
    }
  });
  document.body.addEventListener("htmx:sendError", (event) => {
    if (event.detail.requestConfig.verb !== "get") tell("The service does not answer: look whether it runs, then try again.");
  });
}

// Zones: a click on the picture adds a corner to the area that was used last; the text fields hold the truth.
function drawZones() {
  const svg = document.querySelector("[data-plan] svg");
  if (!svg) return;
  const areas = [...document.querySelectorAll("[data-area]")];
  const corners = (area) => area.querySelector("[data-corners]");
  let chosen = areas.at(-1);

  function draw() {
    svg.replaceChildren(...areas.map((area) => {
      const shape = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
      const points = corners(area).value.split(",").map((pair) => pair.trim().split(/\s+/).map(Number));
      shape.setAttribute("points", points.filter(([x, y]) => isFinite(x) && isFinite(y)).map((p) => p.join(",")).join(" "));
      shape.classList.toggle("mask", area.querySelector("select").value === "masks");
      return shape;
    }).filter((shape) => shape.getAttribute("points")));
  }

  for (const area of areas) {
    area.addEventListener("focusin", () => { chosen = area; });
    area.addEventListener("input", draw);
  }
  svg.addEventListener("click", (event) => {
    const place = svg.getBoundingClientRect();
    const at = [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height];
    const text = at.map((part) => (100 * Math.min(1, Math.max(0, part))).toFixed(1)).join(" ");
    const field = corners(chosen);
    field.value = field.value.trim() ? `${field.value.trim()}, ${text}` : text;
    draw();
  });
  draw();
}

document.addEventListener("DOMContentLoaded", () => {
  drawZones();
  watchPictures();
  takeDrops();
  takePictures();
  mindAnswers();
});
