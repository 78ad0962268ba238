'use strict';
// Counts the contract clocks down in the server's time, pulls the page when the server says that something changed,
// and changes only what differs, so that whoever types or reads is not disturbed. In the words of old browsers.
(function () {
  var body = document.body, skew = 0, said = 0, touched = false, stream = null, retry = 0;

  function sync() {
    var n = document.getElementById('now');
    if (!n) return;
    skew = Number(n.getAttribute('data-now')) - Date.now();
    document.title = n.getAttribute('data-head');
  }
  function two(n) { return (n < 10 ? '0' : '') + n; }
  function tick() {
    document.querySelectorAll('[data-due]').forEach(function (e) {
      var s = Math.round((Number(e.getAttribute('data-due')) - Date.now() - skew) / 1000), late = s < 0, a = Math.abs(s);
      e.classList.toggle('late', late);
      e.classList.toggle('soon', !late && s < 300);
      e.textContent = (late ? body.getAttribute('data-late') : body.getAttribute('data-left')) + ' ' + Math.floor(a / 3600) + ':' + two(Math.floor(a / 60) % 60) + ':' + two(a % 60);
    });
  }

  // What the person holds: fields keep what is typed in them, evidence stays open.
  function theirs(e, name) {
    return name === 'open' && e.nodeName === 'DETAILS' || name === 'selected' || name === 'checked' || name === 'value' && e.nodeName === 'INPUT' && e.type !== 'hidden';
  }
  function attributes(a, b) {
    var i, n;
    for (i = a.attributes.length - 1; i >= 0; i--) {
      n = a.attributes[i].name;
      if (!b.hasAttribute(n) && !theirs(a, n)) a.removeAttribute(n);
    }
    for (i = 0; i < b.attributes.length; i++) {
      n = b.attributes[i].name;
      if (n === 'data-next' && !a.hasAttribute(n)) a.open = true; // it comes next from now on
      if (a.getAttribute(n) !== b.getAttribute(n) && !theirs(a, n)) a.setAttribute(n, b.getAttribute(n));
    }
  }
  function same(a, b) { return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || '') === (b.id || ''); }
  function find(from, b) {
    for (var a = from; a; a = a.nextSibling) if (same(a, b) && (b.id || a === from)) return a;
    return null;
  }
  // children makes those of a like those of b, moving and making as little as it can.
  function children(a, b) {
    var here = a.firstChild, next = b.firstChild, b1, old, gone;
    while ((b1 = next)) {
      next = b1.nextSibling;
      old = find(here, b1);
      if (!old) { a.insertBefore(b1, here); continue; }
      if (old === here) here = here.nextSibling; else a.insertBefore(old, here);
      if (old.nodeType !== 1) { if (old.nodeValue !== b1.nodeValue) old.nodeValue = b1.nodeValue; continue; }
      if (old.id === 'said') { // what was said of an act stays long enough to be read
        if (b1.firstChild) said = Date.now(); else if (Date.now() - said < 30000) continue;
      }
      attributes(old, b1);
      children(old, b1);
    }
    while ((gone = here)) { here = here.nextSibling; a.removeChild(gone); }
  }
  htmx.defineExtension('calm', {
    handleSwap: function (style, target, fragment) {
      var held = document.activeElement, from = held && held.selectionStart, to = held && held.selectionEnd;
      children(target, fragment);
      if (held && held !== document.activeElement && document.contains(held)) { // it had to move
        held.focus();
        if (typeof from === 'number') held.setSelectionRange(from, to);
      }
      sync();
      tick();
      return [target];
    }
  });

  // What was done leaves its form: emptied, closed, and open again only if it comes next once more.
  body.addEventListener('htmx:beforeSwap', function (e) {
    var form = e.detail.requestConfig && e.detail.requestConfig.elt, box;
    if (!form || form.nodeName !== 'FORM' || e.detail.xhr.status >= 300) return;
    form.reset();
    box = form.parentNode;
    // without a box the page was pulled meanwhile and has this form no more
    if (box && box.nodeName === 'DETAILS') { box.open = false; box.removeAttribute('data-next'); }
  });

  // A page that stands still must say so.
  function lost(yes) {
    var p = document.getElementById('lost');
    if (yes) p.querySelector('time').textContent = document.getElementById('now').getAttribute('data-clock');
    p.hidden = !yes;
  }
  ['htmx:sendError', 'htmx:timeout', 'htmx:responseError'].forEach(function (k) { body.addEventListener(k, function () { lost(true); }); });
  body.addEventListener('htmx:afterSwap', function () { lost(false); });

  ['keydown', 'pointerdown', 'touchstart', 'wheel'].forEach(function (k) { window.addEventListener(k, function () { touched = true; }, { passive: true }); });
  body.addEventListener('htmx:configRequest', function (e) {
    if (touched) e.detail.headers['X-Person'] = 'active';
    touched = false;
  });

  // A page that nobody sees gives its connection back; browsers have six for one server.
  function listen() {
    clearTimeout(retry);
    if (stream) stream.close();
    stream = null;
    if (document.hidden || !window.EventSource) return;
    stream = new EventSource('/events');
    stream.addEventListener('changed', function () { htmx.trigger(body, 'changed'); });
    stream.onerror = function () { if (stream && stream.readyState === 2) retry = setTimeout(listen, 15000); };
  }
  document.addEventListener('visibilitychange', function () { listen(); if (!document.hidden) htmx.trigger(body, 'changed'); });

  sync();
  tick();
  setInterval(tick, 1000);
  listen();
})();
