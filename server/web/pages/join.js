import { call, offerCopy, show, submit, takeHash, translate } from './page.js';

const text = translate({
  title: ['Join', 'Unirse'],
  heading: ['Join this server', 'Unirse a este servidor'],
  lead: ['You have been invited. Choose how people here will see you.', 'Le han invitado. Elija cómo le verán los demás.'],
  displayName: ['Your name', 'Su nombre'],
  username: ['Username', 'Nombre de usuario'],
  usernameHint: ['3 to 30 letters, digits, or _ . -', 'De 3 a 30 letras sin acento, cifras, o _ . -'],
  password: ['Password', 'Contraseña'],
  passwordHint: ['6 or more characters.', '6 o más caracteres.'],
  phoneNumber: ['Phone number', 'Teléfono'],
  phoneNumberHint: ['With country code. The phone app signs in with it.', 'Con prefijo internacional. La aplicación móvil inicia sesión con él.'],
  email: ['E-mail', 'Correo electrónico'],
  optional: ['(optional)', '(opcional)'],
  create: ['Create account', 'Crear cuenta'],
  noCode: ['This link is incomplete: open the whole link you were sent.', 'Este enlace está incompleto: abra el enlace entero que recibió.'],
  doneHeading: ['Welcome', 'Le damos la bienvenida'],
  doneLead: ['Open your QuckChat app and sign in at this address:', 'Abra su aplicación QuckChat e inicie sesión en esta dirección:'],
  copy: ['Copy the address', 'Copiar la dirección'],
  copied: ['Copied', 'Copiado'],
});
const part = (id) => document.getElementById(id);
const inviteCode = takeHash();

if (!inviteCode) show(part('error'), part('form'), { message: text('noCode'), fields: [] });

submit(part('form'), part('error'), async (fields) => {
  await call('POST', '/auth/register', { ...fields, inviteCode });
  part('ask').hidden = true;
  part('done').hidden = false;
  part('done').querySelector('h1').focus();
  part('address').textContent = location.origin;
});
offerCopy(part('copy'), part('address'), text('copied'));
