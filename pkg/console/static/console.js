'use strict';
// Counts the contract clocks down in the server's time, and pulls the board when the server says that something changed.
(function () {
  var body = document.body, skew = 0;
  function sync() { var n = document.getElementById('now'); if (n) skew = Number(n.dataset.now) - Date.now(); }
  function two(n) { return (n < 10 ? '0' : '') + n; }
  function tick() {
    document.querySelectorAll('[data-due]').forEach(function (e) {
      var s = Math.round((Number(e.dataset.due) - Date.now() - skew) / 1000), late = s < 0, a = Math.abs(s);
      e.classList.toggle('late', late);
      e.classList.toggle('soon', !late && s < 300);
      e.textContent = (late ? body.dataset.late : body.dataset.left) + ' ' + Math.floor(a / 3600) + ':' + two(Math.floor(a / 60) % 60) + ':' + two(a % 60);
    });
  }
  // A person who is typing or reading evidence must not lose it to a refresh.
  body.addEventListener('htmx:beforeRequest', function (e) {
    var field = document.querySelector('#board input:focus'), open = document.querySelector('#board details[open]');
    if (e.detail.elt.id === 'board' && (field && field.value || open)) e.preventDefault();
  });
  body.addEventListener('htmx:afterSwap', function () { sync(); tick(); });
  sync(); tick(); setInterval(tick, 1000);
  if (window.EventSource) {
    var es = new EventSource('/events');
    es.addEventListener('changed', function () { htmx.trigger(body, 'changed'); });
  }
})();
