"use strict";
// Filters, sorting and enlarging. Without this script the page shows everything.
for (const block of document.querySelectorAll(".browser")) {
  const form = block.querySelector("form"), list = block.querySelector("ul.cases");
  const count = block.querySelector("output"), cards = [...list.children];
  const facets = cards.map(card => JSON.parse(card.dataset.facets));
  const keys = cards.map(card => JSON.parse(card.dataset.keys));
  const more = form.querySelector("[data-more]"), few = 12;
  let limit = few;
  const apply = () => {
    const wanted = [...form.querySelectorAll("select[data-facet]")].filter(select => select.value);
    const matches = index =>
      wanted.every(select => facets[index][select.dataset.facet] === select.value.slice(1));
    const key = form.querySelector("select[data-sort]").value;
    const order = cards.map((card, index) => index);
    if (key) order.sort((a, b) => keys[b][key] - keys[a][key] || a - b);
    const matching = order.filter(matches);
    cards.forEach(card => { card.hidden = true; });
    matching.slice(0, limit).forEach(index => { cards[index].hidden = false; });
    list.append(...order.map(index => cards[index]));
    count.textContent = `${matching.length} of ${cards.length} cases`;
    more.hidden = matching.length <= limit;
    more.textContent = `Show all ${matching.length}`;
  };
  block.showAll = () => { limit = Infinity; form.reset(); apply(); };
  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  more.addEventListener("click", () => { limit = Infinity; apply(); });
  form.addEventListener("submit", event => event.preventDefault());
  apply();
}
if (document.querySelector(".case > button")) {
  const dialog = document.createElement("dialog");
  dialog.innerHTML = '<form method="dialog"><p></p><button>Close</button></form>';
  const image = new Image();
  dialog.setAttribute("aria-label", "Enlarged picture");
  document.body.append(dialog);
  let current = null;
  const show = button => {
    current = button;
    const small = button.querySelector("img");
    dialog.querySelector("form").prepend(image);
    image.src = small.src;
    image.alt = small.alt;
    dialog.querySelector("p").textContent = button.closest(".case").querySelector("h3").textContent;
    if (!dialog.open) dialog.showModal();
  };
  const step = by => {
    const buttons = [...document.querySelectorAll(".case:not([hidden]) > button")];
    const next = buttons[buttons.indexOf(current) + by];
    if (next) show(next);
  };
  for (const button of document.querySelectorAll(".case > button")) {
    button.addEventListener("click", () => show(button));
  }
  dialog.addEventListener("keydown", event => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => current.focus());
}
for (const slider of document.querySelectorAll(".slider")) {
  const range = slider.querySelector("input"), frames = [...slider.querySelectorAll("figure")];
  const show = () => frames.forEach((frame, index) => { frame.hidden = index !== Number(range.value); });
  slider.querySelector("label").hidden = false;
  range.addEventListener("input", show);
  show();
}
const open = () => {
  const id = decodeURIComponent(location.hash.slice(1)), target = id && document.getElementById(id);
  if (!target) return;
  if (target.hidden) target.closest(".browser").showAll();
  for (let parent = target; parent; parent = parent.parentElement) {
    if (parent.tagName === "DETAILS") parent.open = true;
  }
  setTimeout(() => target.scrollIntoView());
};
addEventListener("hashchange", open);
open();
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
