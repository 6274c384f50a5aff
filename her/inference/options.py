"""Group the settings of model calls that every pipeline with a model takes, under `calls`."""

from pydantic import Field

from her.inference.budget import Prices
from her.inference.call import CallLimits
from her.types import Value


class CallOptions(Value):
    """Limits of the model calls.

    Args:
        in_flight: maximum number of concurrent calls per endpoint; lowered while an endpoint answers 429 (rate limit).
        retries: retries of a call that failed on the network or on the server.
        timeout: seconds for one call.
        patience: seconds to wait while no endpoint answers, then the run stops.
        budget_tokens: stop the run after this many tokens, prompts included; 0 for no limit.
        budget_money: stop the run after this cost at `price_prompt` and `price_completion`; 0 for no limit.
        price_prompt: price of a million prompt tokens.
        price_completion: price of a million completion tokens.
        pilot: number of calls of a stage after which its cost is forecast.
    """

    in_flight: int = Field(default=32, ge=1)
    retries: int = Field(default=4, ge=0)
    timeout: float = Field(default=300, gt=0)
    patience: float = Field(default=180, gt=0)
    budget_tokens: int = Field(default=0, ge=0)
    budget_money: float = Field(default=0, ge=0)
    price_prompt: float = Field(default=0, ge=0)
    price_completion: float = Field(default=0, ge=0)
    pilot: int = Field(default=50, ge=0)

    def limits(self, endpoints: int) -> CallLimits:
        """Return these limits for a caller of so many endpoints."""
        return CallLimits(
            max_in_flight=self.in_flight,
            retries=self.retries,
            timeout=self.timeout,
            patience=self.patience,
            ahead=4 * self.in_flight * endpoints,  # enough waiting calls that no endpoint idles between two questions
            budget_tokens=self.budget_tokens or None,
            budget_money=self.budget_money or None,
            prices=Prices(prompt=self.price_prompt, completion=self.price_completion),
        )
