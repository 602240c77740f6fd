// Charts over the static pictures: zoom with the mouse or the keyboard, values and bits under the pointer.
(() => {
  "use strict";
  const source = document.getElementById("curves");
  if (!source || typeof DecompressionStream === "undefined" || typeof uPlot === "undefined") return;
  const { outputs: kept, bars, bad } = JSON.parse(source.textContent);
  const small = (v) => (Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(4)));
  const brief = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e5 ? v.toExponential(1) : Math.abs(v) >= 1e3 ? String(Math.round(v)) : small(v));
  const COUNT = 63488;

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const steps = new Uint16Array(await new Response(stream).arrayBuffer());
    for (let i = 1; i < steps.length; i++) steps[i] += steps[i - 1];
    return steps.subarray(0, COUNT);
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  function mish(x) {
    const t = Math.exp(-Math.abs(x));
    return x > 0 ? (x * (1 + 2 * t)) / (1 + 2 * t + 2 * t * t) : (x * t * (t + 2)) / (t * (t + 2) + 2);
  }

  const spacing = (y) => 2 ** (Math.floor(Math.log2(Math.max(Math.min(Math.abs(y), 65504), 2 ** -14))) - 10);
  const hex = (bits) => "0x" + bits.toString(16).padStart(4, "0");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  function chart(id, xs, inputs, series, options) {
    const place = document.getElementById(id), said = document.getElementById(id + "-said");
    const look = options.look || ((v) => v), back = options.back || ((v) => v);
    const shown = Array.from(xs, look);
    const axis = { stroke: () => colour("ink"), grid: { stroke: () => colour("line"), width: 1 } };
    const shade = (u) => {
      u.ctx.save();
      u.ctx.globalAlpha = 0.14;
      u.ctx.fillStyle = colour("bad");
      for (const [first, last] of bad) {
        const { left, top, width, height } = u.bbox;
        const from = Math.max(left, u.valToPos(look(first), "x", true));
        const to = Math.min(left + width, u.valToPos(look(last), "x", true));
        if (to > from) u.ctx.fillRect(from, top, to - from, height);
      }
      u.ctx.restore();
    };
    const plot = new uPlot({
      width: place.clientWidth - 16, height: 320, cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: options.y || {} },
      hooks: { drawClear: [shade] }, bands: options.bands || [],
      axes: [
        { ...axis, label: "x", labelSize: 18, space: 80, splits: options.splits, values: (_, splits) => splits.map((v) => brief(back(v))) },
        { ...axis, label: options.label, labelSize: 18, size: 60, values: (_, splits) => splits.map(options.mark || brief) },
      ],
      series: [
        { label: "x", value: (_, v, s, i) => (i === null || i === undefined ? "" : `${xs[i]} ${hex(inputs[i])}`) },
        ...series.map((each) => ({
          label: each.name, stroke: () => colour(each.role), width: each.width || (each.role === "candidate" ? 2 : 1),
          dash: { negative: [6, 4], positive: [2, 3] }[each.role],
          value: (_, v, s, i) => (i === null || i === undefined ? "" : each.text(i)),
        })),
      ],
    }, [shown, ...series.map((each) => each.values)], place);
    let at = options.start;
    const show = () => {
      plot.setCursor({ left: plot.valToPos(shown[at], "x"), top: 10 });
      said.textContent = `x ${xs[at]} ${hex(inputs[at])}; ` + series.map((each) => `${each.name} ${each.text(at)}`).join("; ");
    };
    const zoom = (factor) => {
      const { min, max } = plot.scales.x, middle = shown[at];
      plot.setScale("x", { min: middle - (middle - min) * factor, max: middle + (max - middle) * factor });
    };
    place.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 64 : 1;
      const act = {
        ArrowLeft: () => { at = Math.max(0, at - step); show(); },
        ArrowRight: () => { at = Math.min(COUNT - 1, at + step); show(); },
        "+": () => zoom(0.5), "-": () => zoom(2),
        Home: () => { at = options.start; plot.setScale("x", options.range); show(); },
      }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    for (const button of document.querySelectorAll(`[data-chart="${id}"]`)) {
      const range = { min: look(Number(button.dataset.min)), max: look(Number(button.dataset.max)) };
      button.addEventListener("click", () => plot.setScale("x", range));
    }
    plot.setScale("x", options.range);
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth - 16, height: 320 })).observe(place);
    return plot;
  }

  async function draw() {
    const inputs = new Uint16Array(COUNT);
    for (let i = 0; i < 31744; i++) { inputs[31743 - i] = 0x8000 + i; inputs[31744 + i] = i; }
    const xs = Float64Array.from(inputs, half);
    const want = Float64Array.from(xs, mish);
    const bits = {};
    for (const role of Object.keys(kept)) bits[role] = await unpack(kept[role]);
    const outputs = Object.entries(bits).map(([role, got]) => {
      const values = Float64Array.from(got, half);
      return { role, name: role, values: Array.from(values, (v) => (Number.isFinite(v) ? v : null)),
        text: (i) => `${values[i]} ${hex(got[i])}`, raw: values };
    });
    document.documentElement.classList.add("js");
    const start = xs.indexOf(10.3984375);
    const reference = { role: "reference", name: "reference", values: want, text: (i) => want[i].toPrecision(8) };
    chart("chart-cliff", xs, inputs, [reference, ...outputs], {
      label: "mish(x)", start, range: { min: -20, max: 20 },
      y: { range: (u, low, high) => [Math.max(low, -1e5) - 0.5, high + 0.5] } });
    const errors = outputs.map(({ role, name, raw }) => {
      const ulp = Array.from(raw, (v, i) => (Number.isFinite(v) ? Math.abs(v - want[i]) : 65504) / spacing(want[i]));
      return { role, name, values: ulp.map((v) => Math.log2(1 + v)), text: (i) => `${ulp[i].toPrecision(4)} ulp` };
    });
    const found = errors.find((each) => each.role === "candidate");
    if (bars.length && found) {
      const most = new Map(bars.map(([edge, negative, ulp]) => [`${negative} ${Math.abs(edge)}`, ulp]));
      const allowed = Array.from(inputs, (each) => {
        const exponent = (each >> 10) & 31;
        return most.get(`${(each & 0x8000) !== 0} ${exponent ? 2 ** (exponent - 15) : 0}`) ?? 0;
      });
      errors.push({ role: "candidate", name: "allowed", width: 0.5, text: (i) => `${allowed[i].toPrecision(4)} ulp`,
        values: allowed.map((v, i) => Math.max(Math.log2(1 + v), found.values[i])) });
    }
    // Powers of two on either side of zero, where the axis is far from linear; uPlot's own marks where it is not.
    const powers = [-6, -3, 0, 3, 6, 9, 12, 15].flatMap((each) => [-(2 ** each), 2 ** each]).concat(0);
    const splits = (u, axis, min, max) => {
      const inside = powers.map(look).filter((each) => each >= min && each <= max).sort((a, b) => a - b);
      const most = Math.max(2, Math.floor(u.bbox.width / devicePixelRatio / 60)), zero = inside.indexOf(0);
      if (inside.length < 4) return Array.from({ length: 5 }, (_, i) => min + ((max - min) * (i + 0.5)) / 5);
      const every = Math.ceil(inside.length / most);
      return inside.filter((_, i) => (i - Math.max(zero, 0)) % every === 0);
    };
    const look = (x) => Math.asinh(x * 1024), back = (v) => Math.sinh(v) / 1024;
    chart("chart-error", xs, inputs, errors, {
      label: "error in ulp", start, look, back, splits, range: { min: look(-65504), max: look(65504) },
      mark: (v) => brief(2 ** v - 1),
      bands: errors.at(-1) === found || !found ? [] : [{ series: [errors.length, errors.indexOf(found) + 1],
        fill: () => colour("candidate") + "2e" }] });
    document.documentElement.dataset.drawn = "yes";
  }

  draw().catch(() => document.documentElement.classList.remove("js"));
})();
