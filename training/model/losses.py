"""Every loss of this package, on a page. All are per pair or per token; the caller averages over the step.

For a prompt x with responses y, `better` and `worse` index the responses of P pairs. Names are TRL's.

Reward model, r(x, y) for each of k heads (Bradley-Terry; Llama 2, arXiv 2307.09288, eq. 1-2):

    -log sigmoid(r(better) - r(worse) - margin)                 margin 0 as in Llama 3 (arXiv 2407.21783, 4.1.2)
    + center_rewards * (r(better) + r(worse))^2                 (Eisenstein et al., arXiv 2312.09244)

Policy, with h(y) = log p(y|x) - log p_ref(y|x) over the scored tokens, d = h(better) - h(worse), and s the probability
that the judgement is wrong:

    sigmoid       -log sigmoid(beta d)                                              (DPO, arXiv 2305.18290, eq. 7)
    sigmoid_norm  the same with h(y) divided by the number of scored tokens of y    (Tulu 3, arXiv 2411.15124)
    robust        (-(1-s) log sigmoid(beta d) + s log sigmoid(-beta d)) / (1 - 2s)  (arXiv 2403.00409)
    ipo           (d - 1 / (2 beta))^2, h(y) divided by length as well              (arXiv 2310.12036)
    + nll_weight * -log p(token of better)                                          (Llama 3, 4.1.4)

Fine-tuning: -log p(token of the response).
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from training.formats.settings import Aggregate
from training.formats.trainers import OwnLoss

MOST_DOUBT = 0.4  # at s = 1/2 the robust loss divides by zero; what annotators disagree on more is taken for this


def token_logps(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of each label, in float32: logits [N, vocabulary] and labels [N] to [N]."""
    logits = logits.float()
    return logits.gather(1, labels[:, None]).squeeze(1) - logits.logsumexp(dim=1)


def bradley_terry(rewards: Tensor, better: Tensor, worse: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """Rewards [R, k] and pairs [P] to [P], the mean over the k heads."""
    difference = rewards[better] - rewards[worse]  # [P, k]
    return -logsigmoid(difference - (margin[:, None] if isinstance(margin, Tensor) else margin)).mean(dim=1)


def centering(rewards: Tensor, better: Tensor, worse: Tensor) -> Tensor:
    """The squared sum of a pair's two rewards, which pulls their mean to zero: [R, k] to [P]."""
    return ((rewards[better] + rewards[worse]) ** 2).mean(dim=1)


def preference(
    loss_type: OwnLoss, beta: float, log_ratios: Tensor, lengths: Tensor, better: Tensor, worse: Tensor, doubt: Tensor
) -> Tensor:
    """The preference term of a policy.

    Args:
        loss_type: See the module.
        beta: How strongly the policy is held to its reference.
        log_ratios: h(y) of every response, nats, [R].
        lengths: Scored tokens of every response, [R].
        better: Index of each pair's better response, [P].
        worse: Index of each pair's worse response, [P].
        doubt: s of each pair, [P]; read by `robust` only.

    Returns:
        One loss for each pair, [P].
    """
    if loss_type in ("sigmoid_norm", "ipo"):
        log_ratios = log_ratios / lengths.clamp(min=1)
    delta = log_ratios[better] - log_ratios[worse]
    if loss_type == "ipo":
        return (delta - 1 / (2 * beta)) ** 2
    if loss_type == "robust":
        doubt = doubt.clamp(max=MOST_DOUBT)
        return (-(1 - doubt) * logsigmoid(beta * delta) + doubt * logsigmoid(-beta * delta)) / (1 - 2 * doubt)
    return -logsigmoid(beta * delta)


def ensemble(rewards: Tensor, aggregate: Aggregate, std_weight: float) -> Tensor:
    """One reward of k heads, [R, k] to [R]: the lowest, or the mean less so many standard deviations.

    Either is cautious where the heads disagree, which is where best-of-K finds what a reward model overrates (Coste et
    al., arXiv 2310.02743: worst-case and uncertainty-weighted optimisation).
    """
    if aggregate == "min":
        return rewards.amin(dim=1)
    return rewards.mean(dim=1) - std_weight * rewards.std(dim=1, correction=0)


def wins(better: Tensor, weight: Tensor, responses: int) -> Tensor:
    """What the pairs that a response wins weigh, [responses]: it stands in the NLL term once for each of them."""
    return weight.new_zeros(responses).index_add(0, better, weight)
