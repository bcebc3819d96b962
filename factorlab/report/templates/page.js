"use strict";
(function () {
  // Sorting moves whole blocks: ours, printed and difference stay together.
  function key(block, column) {
    var cell = block.rows[0].cells[column];
    var raw = cell ? cell.getAttribute("data-v") : "";
    if (raw === "") { return null; }
    return cell.classList.contains("n") ? Number(raw) : raw;
  }
  function sort(table, head, column) {
    var down = head.getAttribute("aria-sort") !== "descending";
    var blocks = Array.prototype.slice.call(table.tBodies);
    blocks.sort(function (a, b) {
      var x = key(a, column), y = key(b, column);
      if (x === null || y === null) { return x === y ? 0 : x === null ? 1 : -1; }
      var order = typeof x === "number" ? x - y : x.localeCompare(y, "zh");
      return down ? -order : order;
    });
    blocks.forEach(function (block) { table.appendChild(block); });
    table.querySelectorAll("thead th").forEach(function (th) { th.setAttribute("aria-sort", "none"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  document.querySelectorAll("table").forEach(function (table) {
    if (table.tBodies.length < 2) { return; }
    table.querySelectorAll("thead th").forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", function () { sort(table, head, column); });
    });
  });
  // The language: the page's own to start with, the reader's where one was chosen before.
  var group = document.querySelector(".switch");
  if (group) {
    var root = document.documentElement, place = "factorlab-language:" + location.pathname;
    var choose = function (language, keep) {
      if (!group.querySelector('[data-set="' + language + '"]')) { return; }
      root.setAttribute("data-lang", language);
      root.lang = language === "en" ? "en" : "zh";
      group.querySelectorAll("button").forEach(function (b) {
        b.setAttribute("aria-pressed", String(b.getAttribute("data-set") === language));
      });
      // A browser may forbid storage, for pages opened from a disk above all.
      if (keep) { try { localStorage.setItem(place, language); } catch (error) { return; } }
    };
    group.hidden = false;
    group.querySelectorAll("button").forEach(function (b) {
      b.addEventListener("click", function () { choose(b.getAttribute("data-set"), true); });
    });
    var saved = null;
    try { saved = localStorage.getItem(place); } catch (error) { saved = null; }
    if (saved && /^[a-z]+$/.test(saved)) { choose(saved, false); }
  }
  var links = {};
  document.querySelectorAll("nav a").forEach(function (a) { links[a.getAttribute("href").slice(1)] = a; });
  if (!("IntersectionObserver" in window)) { return; }
  var here = null;
  var observer = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      var link = links[entry.target.id];
      if (!entry.isIntersecting || !link) { return; }
      if (here) { here.classList.remove("here"); here.removeAttribute("aria-current"); }
      here = link;
      link.classList.add("here");
      link.setAttribute("aria-current", "true");
      // On a phone the contents are one line that scrolls.
      var nav = link.closest("nav");
      nav.scrollLeft += link.getBoundingClientRect().left - nav.getBoundingClientRect().left - 12;
    });
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("main section").forEach(function (s) { observer.observe(s); });
})();
