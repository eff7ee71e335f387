// Puts buttons beside each clip, says after a guess who was right, and fills the column "you" of the table.
document.querySelectorAll('.guessing-round:not([data-live])').forEach((round) => {
  round.dataset.live = '';
  const {genres, truth, said, wilson, words} = JSON.parse(round.dataset.answers);
  const status = round.querySelector('[role=status]'), n = truth.length, models = Object.keys(said);
  const mine = [...round.querySelectorAll('tr')].map((row, i) => {
    const cell = row.insertBefore(document.createElement(i ? 'td' : 'th'), row.children[2]);
    cell.textContent = i ? '–' : words.guess_head.you;
    if (!i) cell.scope = 'col';
    return cell;
  }).slice(1);
  let guessed = 0, right = 0;
  const say = (name, values) => words[name].replace(/{(\w+)}/g, (gap, key) => values[key]);
  const marked = (genre, i) => `${genre}\u00a0${genre === truth[i] ? '✓' : '✗'}`;
  const score = (name) => said[name].filter((genre, i) => genre === truth[i]).length;
  const finish = () => {
    const [low, high] = wilson[right];
    mine[n].textContent = say('guess_right_of', {right, n});
    mine[n + 1].textContent = say('guess_interval', {low, high});
    const others = models.map((name) => `${name} ${score(name)}`).join(', ');
    status.textContent = say('guess_end', {right, n, others, low, high, wide: high - low});
    round.querySelector('details').open = true;
  };
  round.querySelectorAll('li').forEach((clip, i) => {
    const choices = document.createElement('div'), verdict = document.createElement('p');
    choices.setAttribute('role', 'group');
    choices.setAttribute('aria-label', say('guess_yours', {i: i + 1}));
    verdict.tabIndex = -1;
    const guess = (genre) => {
      const hit = genre === truth[i];
      guessed += 1;
      right += hit;
      mine[i].textContent = marked(genre, i);
      const others = models.map((name) => `${name}: ${marked(said[name][i], i)}`).join(', ');
      verdict.textContent = say(hit ? 'guess_hit' : 'guess_miss', {genre, truth: truth[i], others});
      choices.replaceWith(verdict);
      verdict.focus({preventScroll: true});
      if (guessed === n) finish();
      else status.textContent = say('guess_so_far', {guessed, n, right});
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
