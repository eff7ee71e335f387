// Puts buttons beside each clip, says after a guess who was right, and fills the column "you" of the table.
document.querySelectorAll('.guessing-round:not([data-live])').forEach((round) => {
  round.dataset.live = '';
  const {genres, truth, said, wilson} = JSON.parse(round.dataset.answers);
  const status = round.querySelector('[role=status]'), n = truth.length, models = Object.keys(said);
  const mine = [...round.querySelectorAll('tr')].map((row, i) => {
    const cell = row.insertBefore(document.createElement(i ? 'td' : 'th'), row.children[2]);
    cell.textContent = i ? '–' : 'you';
    if (!i) cell.scope = 'col';
    return cell;
  }).slice(1);
  let guessed = 0, right = 0;
  const marked = (genre, i) => `${genre}\u00a0${genre === truth[i] ? '✓' : '✗'}`;
  const score = (name) => said[name].filter((genre, i) => genre === truth[i]).length;
  const finish = () => {
    const [low, high] = wilson[right];
    mine[n].textContent = `${right} of ${n}`;
    mine[n + 1].textContent = `${low} to ${high} %`;
    const others = models.map((name) => `${name} ${score(name)}`).join(', ');
    status.textContent = `You named ${right} of ${n}; ${others}. ` +
      `Your 95 % interval reaches from ${low} to ${high} %: ${high - low} points. ` +
      'Half that width would take about four times as many clips.';
    round.querySelector('details').open = true;
  };
  round.querySelectorAll('li').forEach((clip, i) => {
    const choices = document.createElement('div'), verdict = document.createElement('p');
    choices.setAttribute('role', 'group');
    choices.setAttribute('aria-label', `Your guess for clip ${i + 1}`);
    verdict.tabIndex = -1;
    const guess = (genre) => {
      const hit = genre === truth[i];
      guessed += 1;
      right += hit;
      mine[i].textContent = marked(genre, i);
      verdict.textContent = `You said ${genre}: ${hit ? 'right' : `wrong, it is labelled ${truth[i]}`}. ` +
        models.map((name) => `${name}: ${marked(said[name][i], i)}`).join(', ');
      choices.replaceWith(verdict);
      verdict.focus({preventScroll: true});
      if (guessed === n) finish();
      else status.textContent = `${guessed} of ${n} clips guessed, ${right} right.`;
    };
    genres.forEach((genre) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = genre;
      button.addEventListener('click', () => guess(genre));
      choices.append(button);
    });
    clip.append(choices);
  });
});
