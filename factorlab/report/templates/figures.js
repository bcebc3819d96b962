(function () {
  // Figures: values under the pointer or by arrow keys, and the same drawing again for a span of
  // dates, some models or some pools. The numbers are those of data-plot, see report/plots.py.
  var SVG = "http://www.w3.org/2000/svg", WIDTH = 720, filter = {};
  function add(parent, name, attributes, text) {
    var e = document.createElementNS(SVG, name);
    Object.keys(attributes || {}).forEach(function (k) { e.setAttribute(k, attributes[k]); });
    if (text !== undefined) { e.textContent = text; }
    return parent.appendChild(e);
  }
  function html(parent, name, css, text) {
    var e = document.createElement(name);
    if (css) { e.className = css; }
    if (text !== undefined) { e.textContent = text; }
    return parent.appendChild(e);
  }
  function both(parent, zh, en) {
    html(parent, "span", "zh", zh).lang = "zh";
    html(parent, "span", "both", " ");
    html(parent, "span", "en", en).lang = "en";
  }
  // Text of a drawing in both languages, in lines or behind each other.
  function label(parent, words, attributes, lines) {
    var text = add(parent, "text", attributes);
    if (words.length < 2) { text.textContent = words[0] || ""; return text; }
    words.forEach(function (w, i) {
      if (i && !lines) { add(text, "tspan", { "class": "both" }, " "); }
      var place = { "class": i ? "en" : "zh" };
      if (lines) { place.x = attributes.x; place.y = attributes.y + (i - 1) * 9.6; }
      add(text, "tspan", place, w);
    });
    return text;
  }
  function unpack(values, digits) {
    var sum = 0;
    return values.map(function (v) { return v === null ? NaN : (sum += v) / Math.pow(10, digits); });
  }
  function day(t) { return new Date(t * 864e5).toISOString().slice(0, 10); }
  function steps(low, high, count) {
    var raw = (high - low) / count, unit = Math.pow(10, Math.floor(Math.log10(raw)));
    var step = [1, 2, 2.5, 5, 10].map(function (m) { return m * unit; }).find(function (s) { return s >= raw; });
    var out = [];
    for (var k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) { out.push(Number((k * step).toPrecision(10))); }
    return out;
  }
  function ticks(low, high, log) {
    if (!log || high / low < 3) { return steps(low, high, 6); }
    var out = [];
    for (var e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
      [1, 2, 5].forEach(function (m) { out.push(m * Math.pow(10, e)); });
    }
    return out.filter(function (t) { return t >= low && t <= high; });
  }
  function axes(g, panel, marks, format, zero) {
    var b = panel.b;
    ticks(panel.y[0], panel.y[1], panel.log).forEach(function (v) {
      var y = panel.at(v);
      add(g, "line", { x1: b[0], x2: b[2], y1: y, y2: y, stroke: "var(--grid)", "stroke-width": 0.6 });
      add(g, "text", { x: b[0] - 6, y: y + 3, "text-anchor": "end", "font-size": 8.5, fill: "var(--ink)" }, format ? v.toFixed(format) : String(v));
    });
    add(g, "path", { d: "M" + b[0] + " " + b[1] + "V" + b[3] + "H" + b[2], fill: "none", stroke: "var(--muted)", "stroke-width": 0.6 });
    if (zero >= panel.y[0] && zero <= panel.y[1]) {
      add(g, "line", { x1: b[0], x2: b[2], y1: panel.at(zero), y2: panel.at(zero), stroke: "var(--muted)", "stroke-width": 0.8 });
    }
    marks.forEach(function (m) {
      add(g, "line", { x1: m[0], x2: m[0], y1: b[3], y2: b[3] + 3, stroke: "var(--muted)", "stroke-width": 0.6 });
      if (m[1]) { add(g, "text", { x: m[0], y: b[3] + 12.5, "text-anchor": "middle", "font-size": 8.5, fill: "var(--ink)" }, m[1]); }
    });
    var turn = "rotate(-90 " + (b[0] - 33) + " " + (b[1] + b[3]) / 2 + ")";
    label(g, panel.l, { x: b[0] - 33, y: (b[1] + b[3]) / 2, transform: turn, "text-anchor": "middle", "font-size": 8.5, fill: "var(--ink)" }, true);
    if (panel.title.length) { label(g, panel.title, { x: b[0], y: b[1] - 7, "font-size": 9, fill: "var(--ink)" }); }
  }
  function scale(panel) {
    var f = panel.log ? Math.log : function (x) { return x; };
    var low = f(panel.y[0]), high = f(panel.y[1]);
    panel.at = function (v) { return panel.b[3] - (panel.b[3] - panel.b[1]) * (f(v) - low) / (high - low); };
    return panel;
  }
  function copy(panel, changes) { return scale(Object.assign({}, panel, changes || {})); }
  function finite(list) { return list.filter(isFinite); }

  function Curves(plot) {
    var t = plot.t, sum = 0;
    t = t.map(function (step) { return sum += step; });
    plot.p.forEach(function (p) { p.curves = p.v.map(function (v) { return { s: v[0], y: unpack(v[1], p.k), dotted: v[2] }; }); });
    var years = [];
    t.forEach(function (d) { var y = day(d).slice(0, 4); if (years[years.length - 1] !== y) { years.push(y); } });
    this.years = years.length > 1 ? years : [];
    this.size = t.length;
    var span = [0, t.length - 1], view = plot.p.map(function (p) { return copy(p); });
    function wanted(curve) { return !filter.f || filter.f.indexOf(plot.s[curve.s][0]) >= 0; }
    function value(panel, curve, i) {
      if (panel.base === "drawdown" || (span[0] === 0 && panel.base === "ratio")) { return curve.y[i]; }
      var k = span[0];
      while (k < span[1] && !isFinite(curve.y[k])) { k++; }
      var start = span[0] ? curve.y[k] : 0;
      return panel.base === "ratio" ? curve.y[i] / start : curve.y[i] - start;
    }
    this.yearSpan = function (first, last) {
      var a = t.findIndex(function (d) { return day(d).slice(0, 4) >= first; });
      var b = t.length - 1;
      while (b > 0 && day(t[b]).slice(0, 4) > last) { b--; }
      // A year begins where the one before ended.
      return [Math.max(a - 1, 0), b];
    };
    this.draw = function (g, from) {
      span = from || [0, t.length - 1];
      var whole = span[0] === 0 && span[1] === t.length - 1;
      var chosen = plot.p.filter(function (p) { return !p.q || !filter.p || filter.p.indexOf(p.q) >= 0; });
      var plain = whole && chosen.length === plot.p.length && !filter.f;
      if (plain) { view = plot.p.map(function (p) { return copy(p); }); return plot.h; }
      var grid = plot.p[0].base === "sum", last = plot.p[plot.p.length - 1].b;
      view = chosen.map(function (p, i) {
        var box = grid ? plot.p[i].b : p.b;
        if (grid && chosen.length === 1) { box = [box[0], box[1], Math.max(last[2], plot.p[Math.min(1, plot.p.length - 1)].b[2]), box[1] + 210]; }
        var values = [];
        p.curves.filter(wanted).forEach(function (c) {
          for (var k = span[0]; k <= span[1]; k++) { values.push(value(p, c, k)); }
        });
        values = finite(values);
        values.push(p.base === "ratio" ? 1 : 0);
        var low = Math.min.apply(null, values), high = Math.max.apply(null, values);
        if (p.log) { var by = Math.pow(Math.max(high / low, 1.01), 0.06); low /= by; high *= by; }
        else { var pad = 0.05 * ((high - low) || 1); low -= pad; high += p.base === "drawdown" ? 0 : pad; }
        var wide = (t[span[1]] - t[span[0]]) * 0.01;
        return copy(p, { b: box, y: [low, high], x: [t[span[0]] - wide, t[span[1]] + wide] });
      });
      var bottom = 0;
      view.forEach(function (p, i) {
        var below = !grid && i < view.length - 1;
        axes(g, p, dates(p, below), p.log && p.y[1] - p.y[0] < 1 ? 2 : 0, p.base === "ratio" ? 1 : 0);
        p.curves.filter(wanted).forEach(function (c) {
          var d = "", up = true;
          for (var k = span[0]; k <= span[1]; k++) {
            var v = value(p, c, k);
            if (!isFinite(v)) { up = true; continue; }
            d += (up ? "M" : "L") + p.to(t[k]).toFixed(2) + " " + p.at(v).toFixed(2);
            up = false;
          }
          var rest = plot.s[c.s][1] === "rest";
          var style = { d: d, fill: "none", stroke: "var(--" + plot.s[c.s][1] + ")", "stroke-width": rest ? 0.6 : c.dotted ? 0.9 : 1.4 };
          if (c.dotted) { style["stroke-dasharray"] = "1 1.6"; }
          add(g, "path", style);
        });
        bottom = Math.max(bottom, p.b[3]);
        if (!below) { label(g, ["日期", "date"], { x: (p.b[0] + p.b[2]) / 2, y: p.b[3] + 26, "text-anchor": "middle", "font-size": 8.5, fill: "var(--ink)" }); }
      });
      return view.length ? bottom + 34 : plot.h;
    };
    function dates(p, bare) {
      p.to = function (d) { return p.b[0] + (p.b[2] - p.b[0]) * (d - p.x[0]) / (p.x[1] - p.x[0]); };
      var months = (p.x[1] - p.x[0]) / 30.4, step = months > 30 ? 12 : months > 8 ? 3 : 1, out = [];
      for (var m = new Date(t[span[0]] * 864e5); ; m.setUTCMonth(m.getUTCMonth() + 1)) {
        m.setUTCDate(1);
        m.setUTCHours(0, 0, 0, 0);
        var d = m.getTime() / 864e5;
        if (d > p.x[1]) { return out; }
        if (d >= p.x[0] && p.to(d) < WIDTH - 22 && m.getUTCMonth() % step === 0) { out.push([p.to(d), bare ? "" : step === 12 ? day(d).slice(0, 4) : day(d).slice(0, 7)]); }
      }
    }
    this.panels = function () { return view; };
    this.panelAt = function (x, y) {
      var found = view.findIndex(function (p) { return x >= p.b[0] - 4 && x <= p.b[2] + 4 && y >= p.b[1] - 8 && y <= p.b[3] + 8; });
      return found;
    };
    this.near = function (x, panel) {
      var p = view[panel], d = p.x[0] + (p.x[1] - p.x[0]) * (x - p.b[0]) / (p.b[2] - p.b[0]), best = span[0];
      for (var k = span[0]; k <= span[1]; k++) { if (Math.abs(t[k] - d) < Math.abs(t[best] - d)) { best = k; } }
      return best;
    };
    this.range = function () { return span; };
    this.read = function (i, active) {
      var marks = [], rows = [], stacked = plot.p[0].base !== "sum";
      view.forEach(function (p, k) {
        var x = p.b[0] + (p.b[2] - p.b[0]) * (t[i] - p.x[0]) / (p.x[1] - p.x[0]);
        marks.push({ line: [x, p.b[1], p.b[3]] });
        p.curves.filter(wanted).forEach(function (c) {
          var v = value(p, c, i), tone = plot.s[c.s][1], name = plot.s[c.s][0];
          if (!isFinite(v) || tone === "rest") { return; }
          marks.push({ dot: [x, p.at(v)], colour: tone });
          if (!stacked && k !== active) { return; }
          var row = rows.find(function (r) { return r.name === name; });
          if (!row) { row = { name: name, colour: tone, sort: v, cells: [] }; rows.push(row); }
          row.cells.push(p.base === "drawdown" ? v.toFixed(2) + " %" : p.base === "ratio" ? v.toFixed(3) + "×" : v.toFixed(2));
        });
      });
      rows.sort(function (a, b) { return b.sort - a.sort; });
      var title = !stacked && view[active] ? view[active].title : [];
      return { head: day(t[i]), title: title, rows: rows, marks: marks };
    };
    this.ends = function () {
      if (plot.p[0].base !== "ratio") { return null; }
      var out = {};
      plot.p[0].curves.forEach(function (c) {
        if (c.dotted) { return; }
        for (var k = span[1]; k >= span[0]; k--) { if (isFinite(c.y[k])) { out[plot.s[c.s][0]] = value(plot.p[0], c, k).toFixed(2) + "×"; return; } }
      });
      return out;
    };
    this.says = function (note) {
      var from = day(t[span[0]]), to = day(t[span[1]]);
      if (plot.p[0].base === "ratio") {
        both(note, from + " 至 " + to + "：净值自 " + from + " 重置为 1；回撤仍自全区间的高点计。", from + " to " + to + ": the NAV starts again at 1 on " + from + "; the drawdown is still that from the peak of the whole span.");
      } else {
        both(note, from + " 至 " + to + "：累计自 " + from + " 重置为 0。", from + " to " + to + ": the sum starts again at 0 on " + from + ".");
      }
    };
  }

  function Bars(plot) {
    var view = [], groups = plot.n.map(function (_, i) { return i; }), series = plot.s;
    var dated = plot.n.every(function (n) { return /^(19|20)\d\d/.test(n); });
    this.years = [];
    this.size = plot.n.length;
    this.draw = function (g) {
      series = plot.s.filter(function (s) { return !filter.f || filter.f.indexOf(s[0]) >= 0 || filter.factors.indexOf(s[0]) < 0; });
      groups = plot.n.map(function (_, i) { return i; }).filter(function (i) { return !dated || !filter.y || filter.y.indexOf(plot.n[i].slice(0, 4)) >= 0; });
      this.size = groups.length;
      if (series.length === plot.s.length && groups.length === plot.n.length) { view = [copy(plot.p[0])]; return plot.h; }
      var values = [0], n = groups.length;
      series.forEach(function (s) { s.slice(2).forEach(function (list) { groups.forEach(function (i) { if (typeof list[i] === "number") { values.push(list[i]); } }); }); });
      plot.lines.forEach(function (l) { values.push(l[1]); });
      var low = Math.min.apply(null, values), high = Math.max.apply(null, values), pad = 0.09 * ((high - low) || 1);
      var p = copy(plot.p[0], { y: [low - (low < 0 ? pad : 0), high + pad] });
      view = [p];
      axes(g, p, groups.map(function (i, k) { return [middle(k), plot.n[i]]; }), 0, 0);
      var wide = 0.84 / Math.max(series.length, 1), unit = (p.b[2] - p.b[0]) / Math.max(n + 0.1, 1);
      series.forEach(function (s, j) {
        groups.forEach(function (i, k) {
          var v = s[2][i], x = middle(k) + unit * (wide * (j + 0.5) - 0.42), w = unit * wide;
          if (typeof v !== "number") { return; }
          var a = p.at(Math.max(v, 0)), b = p.at(Math.min(v, 0));
          add(g, "rect", { x: x - 0.45 * w, y: a, width: 0.9 * w, height: Math.max(b - a, 0.3), fill: "var(--" + s[1] + ")" });
          var top = v;
          if (typeof s[3][i] === "number") { add(g, "circle", { cx: x, cy: p.at(s[3][i]), r: 2.2, fill: "var(--surface)", stroke: "var(--ink)", "stroke-width": 0.9 }); top = beyond(v, top, s[3][i]); }
          if (typeof s[4][i] === "number") { add(g, "path", { d: "M" + (x - 4) + " " + p.at(s[4][i]) + "h8", stroke: "var(--ink)", "stroke-width": 0.9 }); top = beyond(v, top, s[4][i]); }
          if (w > 15) { add(g, "text", { x: x, y: p.at(top) + (v >= 0 ? -4 : 10), "text-anchor": "middle", "font-size": 6.8, fill: "var(--ink)" }, v.toFixed(1)); }
        });
      });
      plot.lines.forEach(function (l, i) {
        add(g, "line", { x1: p.b[0], x2: p.b[2], y1: p.at(l[1]), y2: p.at(l[1]), stroke: "var(--bench)", "stroke-width": 1.1, "stroke-dasharray": i ? "1 1.6" : "5 2" });
      });
      label(g, plot.xl, { x: (p.b[0] + p.b[2]) / 2, y: p.b[3] + 27, "text-anchor": "middle", "font-size": 8.5, fill: "var(--ink)" });
      return plot.h;
    };
    function beyond(v, a, b) { return v >= 0 ? Math.max(a, b) : Math.min(a, b); }
    function middle(k) { var b = view[0].b; return b[0] + (b[2] - b[0]) * (k + 0.55) / (groups.length + 0.1); }
    this.panels = function () { return view; };
    this.panelAt = function (x, y) { var b = view[0].b; return groups.length && x >= b[0] && x <= b[2] && y >= b[1] - 8 && y <= b[3] + 20 ? 0 : -1; };
    this.near = function (x) {
      var b = view[0].b, k = Math.round((x - b[0]) / (b[2] - b[0]) * (groups.length + 0.1) - 0.55);
      return Math.max(0, Math.min(groups.length - 1, k));
    };
    this.range = function () { return [0, groups.length - 1]; };
    this.read = function (k) {
      var i = groups[k], b = view[0].b, half = (b[2] - b[0]) / (groups.length + 0.1) / 2;
      var rows = series.filter(function (s) { return typeof s[2][i] === "number"; }).map(function (s) {
        var cells = [s[2][i].toFixed(2) + " %"];
        if (typeof s[3][i] === "number") { cells.push("○ " + s[3][i].toFixed(2)); }
        if (typeof s[4][i] === "number") { cells.push("— " + s[4][i].toFixed(2)); }
        return { name: s[0], colour: s[1], cells: cells };
      });
      return { head: plot.n[i], title: [], rows: rows, marks: [{ band: [middle(k) - half, b[1], 2 * half, b[3] - b[1]] }] };
    };
    this.ends = function () { return null; };
  }

  // Learning curves: as they are drawn, whatever is filtered; values of one panel at one epoch.
  function Epochs(plot) {
    var view = plot.p.map(function (p) { return copy(p); });
    this.years = [];
    this.size = plot.n;
    this.draw = function () { return plot.h; };
    this.panels = function () { return view; };
    this.panelAt = function (x, y) {
      return view.findIndex(function (p) { return x >= p.b[0] && x <= p.b[2] && y >= p.b[1] - 8 && y <= p.b[3] + 8; });
    };
    function x(p, epoch) { return p.b[0] + (p.b[2] - p.b[0]) * (epoch - p.x[0]) / (p.x[1] - p.x[0]); }
    this.near = function (at, panel) {
      var p = view[panel], epoch = p.x[0] + (p.x[1] - p.x[0]) * (at - p.b[0]) / (p.b[2] - p.b[0]);
      return Math.max(0, Math.min(plot.n - 1, Math.round(epoch) - 1));
    };
    this.range = function () { return [0, plot.n - 1]; };
    this.read = function (i, active) {
      var p = view[active], at = x(p, i + 1), marks = [{ line: [at, p.b[1], p.b[3]] }], rows = [];
      p.v.forEach(function (values, k) {
        if (typeof values[i] !== "number") { return; }
        marks.push({ dot: [at, p.at(values[i])], colour: plot.s[k][1] });
        rows.push({ name: plot.s[k][0], colour: plot.s[k][1], cells: [values[i].toFixed(4)] });
      });
      return { head: p.head + " · " + (i + 1), title: p.title, rows: rows, marks: marks };
    };
    this.ends = function () { return null; };
  }

  function start(box) {
    var plot = JSON.parse(box.dataset.plot), svg = box.querySelector("svg"), figure = box.closest("figure");
    var model = new { curves: Curves, bars: Bars, epochs: Epochs }[plot.kind](plot);
    var caption = figure.querySelector("figcaption").id, again = add(svg, "g", { "class": "again" }), over = add(svg, "g", { "class": "over" });
    var tip = html(box, "div", "tip"), at = -1, panel = 0, own = null, drag = null, note = null, buttons = [];
    tip.hidden = true;
    box.removeAttribute("data-plot");
    // A scale of dates that arrow keys move along; its text is the values there.
    box.setAttribute("role", "slider");
    box.classList.add("live");
    var entries = Array.prototype.slice.call(figure.querySelectorAll(".legend li b")).map(function (b) { return [b, b.textContent, b.parentNode.textContent]; });
    function whole() { return model.years.length && filter.y ? years(filter.y) : null; }
    function years(list) {
      var known = list.filter(function (y) { return y !== "full" && y >= model.years[0] && y <= model.years[model.years.length - 1]; }).sort();
      return known.length ? model.yearSpan(known[0], known[known.length - 1]) : null;
    }
    function draw() {
      while (again.firstChild) { again.removeChild(again.firstChild); }
      var span = own || whole(), height = model.draw(again, span);
      svg.setAttribute("viewBox", "0 0 " + WIDTH + " " + height);
      svg.classList.toggle("redrawn", again.childNodes.length > 0);
      hide();
      box.setAttribute("aria-valuemin", "0");
      box.setAttribute("aria-valuemax", String(Math.max(model.size - 1, 0)));
      box.setAttribute("aria-valuenow", String(model.range()[1]));
      box.setAttribute("aria-valuetext", model.size ? model.read(model.range()[1], 0).head : "–");
      var ends = span && model.ends();
      entries.forEach(function (e) {
        var name = ends && Object.keys(ends).find(function (n) { return e[2].indexOf(n + " ") === 0; });
        e[0].textContent = name ? ends[name] : e[1];
      });
      if (!note) { return; }
      note.textContent = "";
      if (span) { model.says(note); }
      buttons.forEach(function (b) {
        var mine = b.value ? model.yearSpan(b.value, b.value) : null;
        var now = model.range(), on = mine || [0, model.size - 1];
        on = on[0] === now[0] && on[1] === now[1];
        b.setAttribute("aria-pressed", String(on));
      });
    }
    function hide() {
      while (over.firstChild) { over.removeChild(over.firstChild); }
      tip.hidden = true;
      at = -1;
    }
    function show(i) {
      hide();
      var range = model.range();
      if (range[1] < range[0] || !model.panels().length) { return; }
      at = Math.max(range[0], Math.min(range[1], i));
      panel = Math.min(panel, model.panels().length - 1);
      var got = model.read(at, panel), left = 0;
      got.marks.forEach(function (m) {
        if (m.line) { add(over, "line", { x1: m.line[0], x2: m.line[0], y1: m.line[1], y2: m.line[2], stroke: "var(--muted)", "stroke-width": 0.7 }); left = left || m.line[0]; }
        if (m.band) { add(over, "rect", { x: m.band[0], y: m.band[1], width: m.band[2], height: m.band[3], fill: "var(--accent)", "fill-opacity": 0.1 }); left = m.band[0] + m.band[2]; }
        if (m.dot) { add(over, "circle", { cx: m.dot[0], cy: m.dot[1], r: 2.4, fill: "var(--" + m.colour + ")", stroke: "var(--paper)", "stroke-width": 0.7 }); }
      });
      tip.textContent = "";
      var head = html(tip, "div", "head", got.head);
      if (got.title.length === 1) { html(head, "span", "", " " + got.title[0]); }
      if (got.title.length === 2) { head.appendChild(document.createTextNode(" ")); both(head, got.title[0], got.title[1]); }
      got.rows.forEach(function (r) {
        var line = html(tip, "div", "line");
        html(line, "i", "sw").style.background = "var(--" + r.colour + ")";
        html(line, "span", "name", r.name);
        r.cells.forEach(function (c) { html(line, "b", "", c); });
      });
      tip.hidden = false;
      var lines = got.marks.filter(function (m) { return m.line; });
      if (lines.length) { left = (lines[panel] || lines[0]).line[0]; }
      var unit = svg.getBoundingClientRect().width / WIDTH, x = left * unit + 10, b = model.panels()[panel].b;
      if (x + tip.offsetWidth > box.scrollLeft + box.clientWidth - 4) { x = left * unit - tip.offsetWidth - 10; }
      tip.style.left = Math.max(box.scrollLeft, x) + "px";
      tip.style.top = Math.max(0, Math.min(b[1] * unit, box.clientHeight - tip.offsetHeight - 4)) + "px";
      box.setAttribute("aria-valuenow", String(at));
      box.setAttribute("aria-valuetext", head.innerText + ": " + got.rows.map(function (r) { return r.name + " " + r.cells.join(", "); }).join("; "));
    }
    function point(event) {
      var m = svg.getScreenCTM().inverse();
      return [m.a * event.clientX + m.e, m.d * event.clientY + m.f];
    }
    svg.addEventListener("pointermove", function (event) {
      var p = point(event), k = model.panelAt(p[0], p[1]);
      if (drag && drag.panel >= 0) { k = drag.panel; }
      if (k < 0) { hide(); return; }
      panel = k;
      show(model.near(p[0], k));
      if (drag) {
        var b = model.panels()[k].b, x = Math.max(b[0], Math.min(b[2], p[0]));
        add(over, "rect", { x: Math.min(x, drag.x), y: b[1], width: Math.abs(x - drag.x), height: b[3] - b[1], fill: "var(--accent)", "fill-opacity": 0.15 });
      }
    });
    svg.addEventListener("pointerleave", function () { if (!drag && document.activeElement !== box) { hide(); } });
    svg.addEventListener("pointerdown", function (event) {
      var p = point(event), k = model.panelAt(p[0], p[1]);
      if (event.pointerType === "touch" || event.button || k < 0 || !model.years.length) { return; }
      drag = { x: p[0], panel: k };
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", function (event) {
      if (!drag) { return; }
      var x = point(event)[0], from = drag.x, k = drag.panel;
      drag = null;
      if (Math.abs(x - from) < 8) { return; }
      var a = model.near(Math.min(x, from), k), b = model.near(Math.max(x, from), k);
      if (b - a > 2) { own = [a, b]; draw(); }
    });
    svg.addEventListener("pointercancel", function () { drag = null; hide(); });
    box.addEventListener("focus", function () { if (box.matches(":focus-visible")) { show(at < 0 ? model.range()[1] : at); } });
    box.addEventListener("blur", hide);
    box.addEventListener("keydown", function (event) {
      var move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -13, PageDown: 13 }[event.key], range = model.range();
      var here = at < 0 ? range[1] : at;
      if (event.ctrlKey || event.altKey || event.metaKey || event.target !== box) { return; }
      if (move) { show(here + move); }
      else if (event.key === "Home") { show(range[0]); }
      else if (event.key === "End") { show(range[1]); }
      else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        var count = model.panels().length;
        if (!count) { return; }
        panel = (panel + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
        show(here);
      } else if (event.key === "Escape") { hide(); } else { return; }
      event.preventDefault();
    });
    if (model.years.length) {
      var bar = document.createElement("div"), title = html(bar, "span", "title");
      bar.className = "zoom";
      bar.setAttribute("role", "group");
      title.id = caption + "-zoom";
      bar.setAttribute("aria-labelledby", title.id);
      both(title, "区间", "Span");
      [""].concat(model.years).forEach(function (y) {
        var b = html(bar, "button", "");
        b.type = "button";
        b.value = y;
        if (y) { b.textContent = y; } else { both(b, "全部", "all"); }
        b.addEventListener("click", function () { own = y ? model.yearSpan(y, y) : null; if (!y && whole()) { own = [0, model.size - 1]; } draw(); });
        buttons.push(b);
      });
      box.parentNode.insertBefore(bar, box);
      note = html(figure, "p", "note span");
      note.setAttribute("role", "status");
      box.parentNode.insertBefore(note, box.nextSibling);
    }
    document.addEventListener("filter", function () { own = null; draw(); });
    draw();
  }
  document.addEventListener("filter", function (event) { filter = event.detail; }, true);
  document.querySelectorAll("[data-plot]").forEach(start);
})();
