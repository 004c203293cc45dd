// What the pages share: the words in the person's language, calls of the API, and showing its errors.
export const language = (navigator.language || 'en').toLowerCase().startsWith('es') ? 'es' : 'en';

// translate fills every element that names a text in data-t.
export function translate(words) {
  document.documentElement.lang = language;
  const text = (key) => words[key][language === 'es' ? 1 : 0];
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = text(element.dataset.t);
  document.title = text('title') + ' – QuckChat';
  return text;
}

// call sends JSON to the API and returns its answer, or throws an error with message, code and fields.
export async function call(method, path, body, token) {
  const headers = { 'Content-Type': 'application/json', 'Accept-Language': language };
  if (token) headers.Authorization = 'Bearer ' + token;
  let response;
  try {
    response = await fetch('/api/v1' + path, { method, headers, body: JSON.stringify(body) });
  } catch {
    throw { message: language === 'es' ? 'No se puede contactar con el servidor.' : 'The server cannot be reached.', fields: [] };
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw { message: answer.message || response.statusText, code: answer.code, fields: answer.errors || [] };
  return answer;
}

// values reads a form; what is left empty is not sent.
export function values(form) {
  const out = {};
  for (const [name, value] of new FormData(form)) if (value.trim() !== '') out[name] = name === 'password' ? value : value.trim();
  return out;
}

// show puts an error into its box, marks the fields it names, and moves there.
export function show(box, form, error) {
  for (const input of form.querySelectorAll('input')) input.removeAttribute('aria-invalid');
  box.replaceChildren(document.createTextNode(error.message));
  const list = document.createElement('ul');
  for (const wrong of error.fields) {
    const input = form.elements[wrong.field];
    if (input) input.setAttribute('aria-invalid', 'true');
    const label = input && input.labels && input.labels[0] ? input.labels[0].firstElementChild.textContent : wrong.field;
    list.appendChild(document.createElement('li')).textContent = label + ': ' + wrong.constraints.join(', ');
  }
  if (list.children.length > 0) box.appendChild(list);
  box.hidden = false;
  box.focus();
}

// takeHash returns what stands behind # and removes it from the address bar and the history.
export function takeHash() {
  const hash = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, '', location.pathname);
  return hash;
}

// submit runs work when the form is sent, with its button disabled meanwhile.
export function submit(form, box, work) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('button[type=submit]');
    button.disabled = true;
    box.hidden = true;
    try {
      await work(values(form));
    } catch (error) {
      show(box, form, error);
    } finally {
      button.disabled = false;
    }
  });
}

// offerCopy makes a button copy a text, where the browser can.
export function offerCopy(button, source, done) {
  if (!navigator.clipboard) {
    button.hidden = true; // only offered over HTTPS and on localhost: the text can be selected
    return;
  }
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = done;
  });
}
