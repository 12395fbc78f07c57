"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = id => document.getElementById(id);
  const n = data.paths.length, canvas = at("points"), pen = canvas.getContext("2d"), tip = at("tip"), ring = at("ring");
  const dark = matchMedia("(prefers-color-scheme: dark)"), still = matchMedia("(prefers-reduced-motion: reduce)");
  const UNIT = 65535, CELLS = 64, MOST_FILMS = 400;
  const polygon = (...corners) => (path, r) => { for (const [x, y] of corners) path.lineTo(x * r, y * r); path.closePath(); };
  // By the names of matplotlib's markers, so that a group looks as it does in the figures.
  const SHAPES = {
    "o": (path, r) => path.arc(0, 0, r, 0, 2 * Math.PI),
    ".": (path, r) => path.arc(0, 0, 0.65 * r, 0, 2 * Math.PI),
    "s": polygon([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]),
    "^": polygon([0, -1.2], [1.15, 0.85], [-1.15, 0.85]),
    "v": polygon([0, 1.2], [1.15, -0.85], [-1.15, -0.85]),
    "D": polygon([0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]),
    "P": polygon([-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]),
    "X": polygon([-1.2, -0.6], [-0.6, -1.2], [0, -0.6], [0.6, -1.2], [1.2, -0.6], [0.6, 0], [1.2, 0.6], [0.6, 1.2], [0, 0.6], [-0.6, 1.2], [-1.2, 0.6], [-0.6, 0]),
  };
  const view = {x: 0.5, y: 0.5, scale: 1}, size = {width: 1, height: 1, ratio: 1};
  let layout = data.layouts.length - 1, xs, ys, grid, kind, keys, order, off = new Set(), matches = null, current = -1, sprites = [];
  let asked = false, moving = 0, atlas = null;

  // --- the points: where they are, which are shown, which is nearest
  function setLayout(place) {
    layout = place;
    xs = Float32Array.from(data.layouts[place].x, value => value / UNIT);
    ys = Float32Array.from(data.layouts[place].y, value => 1 - value / UNIT);
    grid = {first: new Int32Array(CELLS * CELLS).fill(-1), next: new Int32Array(n)};
    for (let i = 0; i < n; i++) {
      const cell = cellOf(ys[i]) * CELLS + cellOf(xs[i]);
      grid.next[i] = grid.first[cell];
      grid.first[cell] = i;
    }
  }
  const cellOf = value => Math.max(0, Math.min(CELLS - 1, Math.floor(value * CELLS)));
  const isShown = i => !off.has(keys[i]);
  const isWanted = i => isShown(i) && (!matches || matches[i]);
  const screenX = x => (x - view.x) * view.scale + size.width / 2;
  const screenY = y => (y - view.y) * view.scale + size.height / 2;

  function nearest(left, top, reach) {
    const x = (left - size.width / 2) / view.scale + view.x, y = (top - size.height / 2) / view.scale + view.y;
    const far = reach / view.scale;
    let best = -1, least = far * far;
    for (let row = cellOf(y - far); row <= cellOf(y + far); row++)
      for (let column = cellOf(x - far); column <= cellOf(x + far); column++)
        for (let i = grid.first[row * CELLS + column]; i >= 0; i = grid.next[i]) {
          const squared = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
          if (squared < least && isWanted(i)) { best = i; least = squared; }
        }
    return best;
  }

  // --- drawing
  const theme = () => data.themes[dark.matches ? "dark" : "light"];
  const lookOf = key => key < kind.n_named ? theme().looks[key] : theme().rest;

  function sprite(key, radius) {
    const side = Math.ceil((2 * radius + 4) * size.ratio), image = document.createElement("canvas");
    image.width = image.height = side;
    const brush = image.getContext("2d");
    brush.translate(side / 2, side / 2);
    brush.scale(size.ratio, size.ratio);
    brush.beginPath();
    const [colour, marker] = lookOf(key);
    SHAPES[marker](brush, radius);
    brush.fillStyle = colour;
    brush.fill();
    // A thin edge, or points that overlap run into one.
    brush.strokeStyle = theme().edge;
    brush.lineWidth = 0.5;
    brush.stroke();
    return image;
  }

  function pointRadius() {
    const usual = n > 2000 ? 3 : n > 400 ? 4 : 5;
    return Math.min(9, usual * Math.max(1, (view.scale / wholeScale()) ** 0.35));
  }

  function redraw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(paint);
  }

  function paint() {
    asked = false;
    const radius = pointRadius(), n_keys = Math.min(kind.names.length, kind.n_named + 1);
    sprites = Array.from({length: n_keys}, (_, key) => sprite(key, radius));
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const inView = [];
    for (const i of order) {
      const x = screenX(xs[i]), y = screenY(ys[i]);
      if (x > -radius && y > -radius && x < size.width + radius && y < size.height + radius && isShown(i)) inView.push(i);
    }
    const films = at("films").checked && atlas && inView.length <= MOST_FILMS;
    const side = Math.max(32, Math.min(2.8 * (data.atlas?.film ?? 0), 0.5 * Math.sqrt((size.width * size.height) / inView.length)));
    for (const wanted of [false, true]) {
      pen.globalAlpha = wanted ? 1 : 0.13;
      for (const i of inView) if (isWanted(i) === wanted) films ? drawFilm(i, side) : drawPoint(i);
    }
    tell(films, inView.length);
    placeTip();
    performance.mark("painted");
  }

  function drawPoint(i) {
    const image = sprites[keys[i]], half = image.width / 2;
    // Whole pixels: the browser then copies, and does not resample.
    pen.drawImage(image, Math.round(screenX(xs[i]) * size.ratio - half), Math.round(screenY(ys[i]) * size.ratio - half));
  }

  function drawFilm(i, sidePx) {
    const side = Math.round(sidePx * size.ratio), edge = 3 * size.ratio;
    const x = Math.round(screenX(xs[i]) * size.ratio - side / 2), y = Math.round(screenY(ys[i]) * size.ratio - side / 2);
    pen.fillStyle = lookOf(keys[i])[0];
    pen.fillRect(x - edge, y - edge, side + 2 * edge, side + 2 * edge);
    copyFilm(pen, i, x, y, side);
  }

  function copyFilm(brush, i, x, y, side) {
    const {columns, cell, film} = data.atlas;
    brush.drawImage(atlas, (i % columns) * cell, Math.floor(i / columns) * cell, film, film, x, y, side, side);
  }

  function tell(films, nInView) {
    const parts = [];
    if (matches) parts.push(`${matches.reduce((sum, one) => sum + one, 0).toLocaleString("en")} of ${n.toLocaleString("en")} paths match`);
    if (at("films").checked && !films) parts.push(`${nInView.toLocaleString("en")} films are in view; zoom in until there are ${MOST_FILMS} or fewer`);
    if (at("told").textContent !== parts.join(". ")) at("told").textContent = parts.join(". ");
  }

  // --- the film under the pointer
  function choose(i) {
    if (i === current) return;
    current = i;
    tip.replaceChildren();
    if (i >= 0) {
      if (atlas) {
        const image = document.createElement("canvas");
        image.width = image.height = data.atlas.film;
        copyFilm(image.getContext("2d"), i, 0, 0, data.atlas.film);
        tip.append(image);
      }
      for (const one of data.kinds) tip.append(line(`${one.name}: ${one.names[one.codes[i]]}`, ""));
      tip.append(line(data.paths[i], "path"));
    }
    placeTip();
  }

  function line(text, name) {
    const part = document.createElement("p");
    part.textContent = text;
    part.className = name;
    return part;
  }

  function placeTip() {
    ring.hidden = current < 0;
    if (current < 0) return;
    const x = screenX(xs[current]), y = screenY(ys[current]), width = tip.offsetWidth, height = tip.offsetHeight;
    const right = x + 16, left = x - 16 - width, isBeside = right + width < size.width || left > 0;
    // Where there is no room beside the film, above or below it: the tip never lies on what it speaks of.
    const besideTop = Math.max(4, Math.min(size.height - height - 4, y - height / 2));
    const top = isBeside ? besideTop : y > size.height / 2 ? y - 16 - height : y + 16;
    const start = isBeside ? (right + width < size.width ? right : left) : Math.max(4, Math.min(size.width - width - 4, x - width / 2));
    ring.style.transform = `translate(${x}px, ${y}px)`;
    tip.style.transform = `translate(${start}px, ${Math.max(4, Math.min(size.height - height - 4, top))}px)`;
  }

  // --- moving about
  function wholeScale() {
    const span = axis => Math.max(0.02, ...data.layouts.map(one => one["span_" + axis] / UNIT));
    return 0.92 * Math.min(size.width / span("x"), size.height / span("y"));
  }
  function whole() { Object.assign(view, {x: 0.5, y: 0.5, scale: wholeScale()}); redraw(); }
  function zoom(factor, left = size.width / 2, top = size.height / 2) {
    const scale = Math.max(0.5 * wholeScale(), Math.min(400 * wholeScale(), view.scale * factor));
    view.x += (left - size.width / 2) * (1 / view.scale - 1 / scale);
    view.y += (top - size.height / 2) * (1 / view.scale - 1 / scale);
    view.scale = scale;
    redraw();
  }
  function pan(right, down) { view.x -= right / view.scale; view.y -= down / view.scale; redraw(); }

  function showLayout(place) {
    const fromX = xs, fromY = ys, began = performance.now(), ticket = ++moving;
    setLayout(place);
    const toX = xs, toY = ys;
    if (still.matches) return redraw();
    const step = now => {
      if (ticket !== moving) return;
      const part = Math.min(1, Math.max(0, (now - began) / 600)), eased = part * part * (3 - 2 * part);
      xs = part < 1 ? toX.map((x, i) => fromX[i] + (x - fromX[i]) * eased) : toX;
      ys = part < 1 ? toY.map((y, i) => fromY[i] + (y - fromY[i]) * eased) : toY;
      paint();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  function fill() {
    const zoomed = view.scale / wholeScale();
    Object.assign(size, {width: canvas.clientWidth, height: canvas.clientHeight, ratio: Math.min(2, devicePixelRatio || 1)});
    canvas.width = Math.round(size.width * size.ratio);
    canvas.height = Math.round(size.height * size.ratio);
    view.scale = zoomed * wholeScale();
    if (kind) redraw();
  }

  const fingers = new Map();
  let pressed = null;
  const spread = () => { const [a, b] = fingers.values(); return Math.hypot(a.x - b.x, a.y - b.y); };
  const spot = event => { const box = canvas.getBoundingClientRect(); return {x: event.clientX - box.left, y: event.clientY - box.top}; };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, spot(event));
    pressed = spot(event);
  });
  canvas.addEventListener("pointermove", event => {
    const now = spot(event), before = fingers.get(event.pointerId);
    if (!before) return choose(nearest(now.x, now.y, 14));
    const apart = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, now);
    pan((now.x - before.x) / fingers.size, (now.y - before.y) / fingers.size);
    if (apart) {
      const [a, b] = fingers.values();
      zoom(spread() / apart, (a.x + b.x) / 2, (a.y + b.y) / 2);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
    const now = spot(event);
    if (name === "pointerup" && fingers.size === 1 && pressed && Math.hypot(now.x - pressed.x, now.y - pressed.y) < 6)
      choose(nearest(now.x, now.y, event.pointerType === "mouse" ? 14 : 26));
    fingers.delete(event.pointerId);
  });
  canvas.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") choose(-1); });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const now = spot(event), pixels = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
    zoom(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 350), now.x, now.y);
  }, {passive: false});

  // --- keys
  const ARROWS = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]};
  function towards([right, down]) {
    if (current < 0) return nearest(size.width / 2, size.height / 2, 2 * Math.max(size.width, size.height));
    let best = current, least = Infinity;
    for (let i = 0; i < n; i++) {
      const x = xs[i] - xs[current], y = ys[i] - ys[current];
      const along = x * right + y * down, across = Math.abs(x * down) + Math.abs(y * right);
      if (along > 0 && across <= along && x * x + y * y < least && isWanted(i)) { best = i; least = x * x + y * y; }
    }
    return best;
  }
  function inList(step) {
    for (let passed = 1, i = current; passed <= n; passed++) {
      i = current < 0 && passed === 1 ? (step > 0 ? 0 : n - 1) : (i + step + n) % n;
      if (isWanted(i)) return i;
    }
    return current;
  }
  function walk(i) {
    choose(i);
    if (i < 0) return;
    const x = screenX(xs[i]), y = screenY(ys[i]), edge = 24;
    if (x < edge || y < edge || x > size.width - edge || y > size.height - edge) pan(size.width / 2 - x, size.height / 2 - y);
  }
  const middle = () => current < 0 ? [] : [screenX(xs[current]), screenY(ys[current])];
  const KEYS = {
    PageDown: () => walk(inList(1)), PageUp: () => walk(inList(-1)), Escape: () => choose(-1),
    "+": () => zoom(1.4, ...middle()), "=": () => zoom(1.4, ...middle()), "-": () => zoom(1 / 1.4, ...middle()), 0: whole,
  };
  canvas.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = event.key in ARROWS ? () => walk(towards(ARROWS[event.key])) : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // --- the controls
  function setKind(place) {
    kind = data.kinds[place];
    keys = Uint16Array.from(kind.codes, code => Math.min(code, kind.n_named));
    // The rest lies below and the small groups above, or a large one would bury them.
    const counts = new Float64Array(kind.n_named + 1);
    for (const key of keys) counts[key]++;
    counts[kind.n_named] = Infinity;
    order = Array.from(keys.keys()).sort((one, other) => counts[keys[other]] - counts[keys[one]] || keys[one] - keys[other]);
    off = new Set();
    at("legend-heading").textContent = kind.name;
    drawLegend();
    redraw();
  }

  function drawLegend() {
    const counts = new Map();
    for (const key of keys) counts.set(key, (counts.get(key) || 0) + 1);
    at("legend").replaceChildren(...[...counts.keys()].sort((a, b) => a - b).map(key => {
      const button = document.createElement("button"), name = document.createElement("span"), count = document.createElement("small");
      const nOthers = kind.names.length - kind.n_named;
      name.textContent = key < kind.n_named ? kind.names[key] : `other (${nOthers.toLocaleString("en")})`;
      count.textContent = counts.get(key).toLocaleString("en");
      const swatch = sprite(key, 5.5), item = document.createElement("li");
      button.type = "button";
      button.dataset.key = key;
      button.append(swatch, name, count);
      button.addEventListener("click", () => { off.has(key) ? off.delete(key) : off.add(key); showPressed(); });
      item.append(button);
      return item;
    }));
    showPressed();
  }

  function showPressed() {
    for (const button of at("legend").querySelectorAll("button")) button.setAttribute("aria-pressed", !off.has(Number(button.dataset.key)));
    if (current >= 0 && !isShown(current)) choose(-1);
    redraw();
  }

  function search() {
    const wanted = at("search").value.trim().toLowerCase();
    matches = wanted ? data.paths.map(path => path.toLowerCase().includes(wanted)) : null;
    if (current >= 0 && !isWanted(current)) choose(-1);
    redraw();
  }

  function options(select, items) {
    items.forEach((item, place) => select.append(new Option(item.name, place)));
  }

  options(at("kind"), data.kinds);
  options(at("layout"), data.layouts);
  at("layout").value = layout;
  at("layout-label").hidden = data.layouts.length < 2;
  at("films-label").hidden = !data.atlas;
  at("kind").addEventListener("change", event => setKind(Number(event.target.value)));
  at("layout").addEventListener("change", event => showLayout(Number(event.target.value)));
  at("search").addEventListener("input", search);
  at("search").addEventListener("keydown", event => { if (event.key === "Enter" && matches) walk(inList(event.shiftKey ? -1 : 1)); });
  at("films").addEventListener("change", redraw);
  at("closer").addEventListener("click", () => zoom(1.6));
  at("farther").addEventListener("click", () => zoom(1 / 1.6));
  at("whole").addEventListener("click", whole);
  at("all").addEventListener("click", () => { off.clear(); showPressed(); });
  at("none").addEventListener("click", () => { keys.forEach(key => off.add(key)); showPressed(); });
  dark.addEventListener("change", () => { drawLegend(); redraw(); });

  at("explorer").hidden = false;
  setLayout(layout);
  fill();
  view.scale = wholeScale();
  setKind(0);
  new ResizeObserver(fill).observe(canvas);
  if (data.atlas) {
    const image = new Image();
    image.onload = () => { atlas = image; redraw(); };
    image.src = data.atlas.uri;
  }
})();
