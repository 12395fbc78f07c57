// What the pages do without this, they do with it in place: films are dropped, corrections answered on the spot.
"use strict";
document.documentElement.classList.add("has-script");

for (const zone of document.querySelectorAll(".drop")) {
  const input = zone.querySelector("input[type=file]");
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, event => { event.preventDefault(); zone.classList.add("over"); });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", event => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
  });
}

async function sent(action, body) {
  const response = await fetch(action, { method: "POST", body, headers: { Accept: "application/json" } });
  const found = await response.json();
  if (!response.ok) throw new Error(found.detail);
  return found;
}

function offerUndo(said, number) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "second";
  button.textContent = "Take it back";
  button.addEventListener("click", async () => {
    const body = new FormData();
    body.append("number", number);
    button.disabled = true;
    try {
      await sent("/undo", body);
      said.textContent = "Taken back: the bank is as it was before.";
    } catch (error) {
      said.textContent = `${error.message}.`;
    }
  });
  said.append(" ", button);
}

function tellChange(said, { change }) {
  if (change === null) {
    said.textContent = "The bank has this film by this finding already.";
    return;
  }
  said.textContent = `Added to the bank as ${change.finding}; it is called ${change.films[0]} there.`;
  offerUndo(said, change.id);
}

async function showHeat(said, { picture, alt, said: words }) {
  const image = document.createElement("img");
  image.className = "heat";
  image.alt = alt;
  image.src = picture;
  await image.decode();
  said.replaceChildren(words, image);
}

for (const form of document.querySelectorAll("form.film")) {
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const button = event.submitter, action = button.getAttribute("formaction");
    const said = button.closest("details").querySelector(".said");
    button.disabled = true;
    said.textContent = "Working";
    try {
      const found = await sent(action, new FormData(form));
      await (action === "/why" ? showHeat : tellChange)(said, found);
    } catch (error) {
      said.textContent = `${error.message}.`;
    }
    button.disabled = false;
  });
}

// Saerens, Latinne, Decaestecker 2002, eq. 2.4: shares weighed by how much more frequent a finding is than in the
// calibration. What was not touched shares the rest, in proportion to the calibration.
const dials = document.getElementById("dials");
if (dials) {
  dials.hidden = false;
  const inputs = [...dials.querySelectorAll("input")];
  const touched = new Set();
  const prior = new Map(inputs.map(input => [input.dataset.finding, Number(input.dataset.prior)]));

  function shares(last) {
    const stated = new Map();
    let room = 1;
    for (const input of [last, ...inputs.filter(one => one !== last && touched.has(one))]) {
      const share = Math.min(Number(input.value) / 100, room - 0.001 * (inputs.length - stated.size - 1));
      stated.set(input.dataset.finding, share);
      room -= share;
    }
    const others = [...prior].filter(([name]) => !stated.has(name));
    const total = others.reduce((sum, [, share]) => sum + share, 0);
    for (const [name, share] of others) stated.set(name, room * share / total);
    if (!others.length) for (const [name, share] of stated) stated.set(name, share / (1 - room));
    return stated;
  }

  function follow(last) {
    if (touched.size === inputs.length - 1 && !touched.has(last)) touched.clear();
    touched.add(last);
    const stated = shares(last);
    for (const input of inputs) {
      const percent = 100 * stated.get(input.dataset.finding);
      if (input !== last) input.value = percent;
      input.nextElementSibling.value = `${percent.toFixed(1)} %`;
    }
    for (const list of document.querySelectorAll(".bars")) {
      const rows = [...list.children].filter(row => Number(row.dataset.share) > 0);
      const weight = row => Number(row.dataset.share) * stated.get(row.dataset.finding) / prior.get(row.dataset.finding);
      const total = rows.reduce((sum, row) => sum + weight(row), 0);
      for (const row of rows) {
        row.querySelector("rect").setAttribute("width", 100 * weight(row) / total);
        row.querySelector(".share").textContent = (weight(row) / total).toFixed(2);
      }
    }
  }
  for (const input of inputs) input.addEventListener("input", () => follow(input));
}
