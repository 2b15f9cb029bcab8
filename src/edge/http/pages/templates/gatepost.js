// Enhancements of Gatepost's pages. Every page works without them.
(() => {
  'use strict';

  // The text of a button for a moment, and again what it was.
  const say = (button, text) => {
    const shown = button.querySelector('.copy-text');
    shown.textContent = text;
    clearTimeout(button.gatepostTimer);
    button.gatepostTimer = setTimeout(() => { shown.textContent = 'Copy'; }, 2000);
  };

  // Over plain HTTP, browsers have no clipboard for pages: the text is selected, so that a key copies it.
  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  const copy = async (button) => {
    const element = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(element.textContent);
      say(button, 'Copied');
    } catch {
      select(element);
      say(button, 'Selected');
    }
  };

  for (const button of document.querySelectorAll('button[data-copy]')) {
    button.querySelector('.copy-text').setAttribute('aria-live', 'polite');
    button.hidden = false;
    button.addEventListener('click', () => copy(button));
  }

  // The part of an address after # never reaches the server. Browsers keep it over redirects, and so over the one to the
  // login page; from there, the address of the form takes it on.
  for (const form of document.querySelectorAll('form[data-keep-fragment]')) {
    form.addEventListener('submit', () => {
      if (location.hash) form.action = form.action.split('#')[0] + location.hash;
    });
  }

  for (const link of document.querySelectorAll('a[data-continue]')) {
    location.replace(link.href + location.hash);
  }

  for (const form of document.querySelectorAll('form[data-selection]')) {
    const all = form.querySelector('[data-select-all]');
    const boxes = [...form.querySelectorAll('input[name="id"]')];
    const told = form.querySelector('[data-selected]');
    const show = () => {
      const count = boxes.filter((box) => box.checked).length;
      all.checked = count > 0 && count === boxes.length;
      all.indeterminate = count > 0 && count < boxes.length;
      told.textContent = count === 0 ? '' : `${count} selected`;
    };
    all.parentElement.hidden = false;
    all.addEventListener('change', () => {
      for (const box of boxes) box.checked = all.checked;
      show();
    });
    form.addEventListener('change', show);
    form.addEventListener('submit', (event) => {
      if (boxes.some((box) => box.checked)) return;
      event.preventDefault();
      told.textContent = 'Select credentials first';
    });
    // A browser that goes back restores the boxes.
    window.addEventListener('pageshow', show);
  }

  for (const field of document.querySelectorAll('input[data-reveal]')) {
    const button = document.createElement('button');
    const show = (isShown) => {
      field.type = isShown ? 'text' : 'password';
      button.textContent = isShown ? 'Hide the password' : 'Show the password';
    };
    button.type = 'button';
    button.className = 'link';
    show(false);
    button.addEventListener('click', () => show(field.type === 'password'));
    field.form.addEventListener('submit', () => show(false));
    field.after(button);
  }
})();
