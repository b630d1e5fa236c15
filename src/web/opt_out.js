// The opt-out page with JavaScript: its button says that a person pressed it. A program that submits the form, or clicks the
// button by a script, does not opt anybody out. Without this script the form works by its button.
"use strict";

(() => {
  const form = document.getElementById("opt-out");
  if (!form) return;
  const { event: said, signs } = form.elements;
  said.value = "none";
  form.querySelector("button").addEventListener("click", (event) => {
    said.value = event.isTrusted ? "pointer" : "none";
    signs.value = navigator.webdriver ? "webdriver" : "";
  });
})();
