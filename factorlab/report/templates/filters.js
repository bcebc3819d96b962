(function () {
  // Filters: what says a model, pool, horizon or year (data-f, -p, -h, -y) is hidden unless one of
  // those is chosen; what says nothing stays.
  var bar = document.querySelector(".filters");
  if (!bar) { return; }
  var names = { f: JSON.parse(bar.dataset.factors), p: JSON.parse(bar.dataset.pools) };
  var words = { f: "model", p: "pool", h: "horizon", y: "year" };
  var boxes = {}, chosen = {};
  function all(selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); }
  bar.querySelectorAll(".choice").forEach(function (d) { boxes[d.dataset.kind] = all("input", d); });
  var kinds = Object.keys(boxes);
  function fits(element) {
    return kinds.every(function (k) {
      var said = element.getAttribute("data-" + k);
      return !chosen[k] || said === null || said.split(" ").some(function (v) { return chosen[k].indexOf(v) >= 0; });
    });
  }
  function gone(element) { return element.hidden; }
  function table(part) {
    var table = part.querySelector("table"), rows = false;
    if (!table) { part.hidden = !fits(part); return; }
    all("thead th", table).forEach(function (head, i) {
      if (!head.hasAttribute("data-y")) { return; }
      var hide = !fits(head);
      if (hide === head.hidden) { return; }
      head.hidden = hide;
      all("tbody tr", table).forEach(function (row) { row.cells[i].hidden = hide; });
    });
    Array.prototype.forEach.call(table.tBodies, function (block) {
      var some = false;
      Array.prototype.forEach.call(block.rows, function (row) {
        row.hidden = !fits(row);
        some = some || !row.hidden;
      });
      block.hidden = !some;
      rows = rows || some;
    });
    part.hidden = !fits(part) || (table.tBodies.length > 0 && !rows);
  }
  // What is read stays where it is, although parts above it come and go.
  function reading() {
    var sections = all("main > section").filter(function (s) { return !s.hidden; });
    var top = bar.offsetHeight + 60, here = null;
    sections.forEach(function (s) { if (s.getBoundingClientRect().top <= top) { here = s; } });
    return here && [here, here.getBoundingClientRect().top];
  }
  function apply() {
    var kept = reading();
    kinds.forEach(function (k) {
      var on = boxes[k].filter(function (b) { return b.checked; });
      chosen[k] = on.length && on.length < boxes[k].length ? on.map(function (b) { return b.value; }) : null;
      var place = bar.querySelector('[data-kind="' + k + '"] .chosen');
      place.textContent = chosen[k] ? on.length + "/" + boxes[k].length : "";
    });
    all("main .table").forEach(table);
    all("main figure, main .card, .note[data-p], .card [data-p], .legend li").forEach(function (part) { part.hidden = !fits(part); });
    all("main details").forEach(function (d) {
      var inside = all(".table", d);
      d.hidden = inside.length > 0 && inside.every(gone);
    });
    var shown = 0;
    all("section.exhibit").forEach(function (e) {
      var parts = all("figure, .table", e);
      e.hidden = !fits(e) || (parts.length > 0 && parts.every(gone));
      shown += e.hidden ? 0 : 1;
      document.querySelector('nav a[href="#' + e.id + '"]').parentNode.hidden = e.hidden;
    });
    all("[data-n]", bar).forEach(function (b) { b.textContent = shown; });
    var what = bar.querySelector(".what");
    what.textContent = "";
    kinds.forEach(function (k) {
      boxes[k].forEach(function (b) {
        if (!chosen[k] || !b.checked) { return; }
        var item = document.createElement("span");
        all("span", b.parentNode).forEach(function (s) { item.appendChild(s.cloneNode(true)); });
        if (!item.childNodes.length || k === "h") { item.insertBefore(document.createTextNode(k === "h" ? b.value + " " : b.parentNode.textContent), item.firstChild); }
        what.appendChild(item);
      });
    });
    bar.querySelector(".reset").disabled = kinds.every(function (k) { return !chosen[k]; });
    if (kept) {
      var at = kept[0], exact = !at.hidden;
      while (at && at.hidden) { at = at.nextElementSibling; }
      if (at) { window.scrollBy({ top: at.getBoundingClientRect().top - (exact ? kept[1] : bar.offsetHeight + 4), behavior: "instant" }); }
    }
    function named(k) { return chosen[k] && chosen[k].map(function (i) { return names[k][i]; }); }
    document.dispatchEvent(new CustomEvent("filter", { detail: { f: named("f"), p: named("p"), y: chosen.y, factors: names.f } }));
  }
  // The address keeps the choice, so that it can be sent to somebody: #model=GRU-IC&year=2020.
  function written() {
    return kinds.filter(function (k) { return chosen[k]; }).map(function (k) {
      return words[k] + "=" + chosen[k].map(function (v) { return encodeURIComponent(names[k] ? names[k][v] : v); }).join(",");
    }).join("&");
  }
  function keep() {
    try { history.replaceState(null, "", "#" + (written() || "main")); } catch (error) { return; }
  }
  function read() {
    var hash = location.hash.slice(1);
    if (hash.indexOf("=") < 0) { return; }
    var given = {};
    hash.split("&").forEach(function (part) {
      var pair = part.split("=");
      given[pair[0]] = (pair[1] || "").split(",");
    });
    kinds.forEach(function (k) {
      boxes[k].forEach(function (b) {
        var name = encodeURIComponent(names[k] ? names[k][b.value] : b.value);
        b.checked = (given[words[k]] || []).indexOf(name) >= 0;
      });
    });
    apply();
  }
  function shut(but) { all(".choice[open]", bar).forEach(function (d) { if (d !== but) { d.open = false; } }); }
  bar.addEventListener("change", function () { apply(); keep(); });
  bar.querySelector(".reset").addEventListener("click", function () {
    all("input", bar).forEach(function (b) { b.checked = false; });
    apply(); keep(); shut(null);
  });
  bar.addEventListener("keydown", function (event) {
    var open = event.target.closest(".choice[open]");
    if (event.key === "Escape" && open) { open.open = false; open.querySelector("summary").focus(); }
  });
  document.addEventListener("click", function (event) { shut(event.target.closest(".choice")); });
  var unfold = bar.querySelector(".unfold");
  unfold.addEventListener("click", function () {
    unfold.setAttribute("aria-expanded", String(bar.classList.toggle("open")));
    measure();
  });
  function measure() { document.documentElement.style.setProperty("--bar", bar.offsetHeight + "px"); }
  bar.hidden = false;
  window.addEventListener("resize", measure);
  window.addEventListener("hashchange", read);
  measure();
  read();
  // Paper shows what is folded; the screen gets back what was open.
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = all("main details:not([open])");
    opened.forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () { opened.forEach(function (d) { d.open = false; }); });
})();
