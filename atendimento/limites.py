"""Os limites de quem abusa, de propósito ou não: os lugares, as senhas erradas e as linhas por segundo.

Só contas, pelo relógio que se der a elas; quem recusa, espera e se despede é o servidor. `Lugares` e `Senhas` exigem a
trava de quem as guarda. Um `Ritmo` é de uma thread só.
"""

import ipaddress
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from atendimento.filas import LOTADO
from protocolo import Fim

Relogio = Callable[[], float]  # segundos

DEMAIS = Fim("Conexões demais do seu endereço; tente mais tarde.")

ISENTOS = ("127.0.0.1", "::1")
"""Os endereços sem limite de conexões: nesta máquina estão os testes, os experimentos e a turma simulada."""


def origem(endereco: str) -> str:
    """O que conta como um endereço só.

    Em IPv6, a rede /64: uma casa recebe uma inteira, e cada programa pode escolher outro endereço dela. As exceções
    são os da própria máquina e os de uma ligação local. Um IPv4 escrito em IPv6 é o IPv4.
    """
    ip = ipaddress.ip_address(endereco)
    if ip.version == 6 and ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    if ip.version == 4 or ip.is_loopback or ip.is_link_local:
        return endereco
    return str(ipaddress.ip_network((int(ip), 64), strict=False))


# --- Os lugares ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Visitas:
    """O que se sabe de uma origem. Os instantes são em segundos, pelo relógio de `Lugares`."""

    novas: deque[float]  # quando chegou cada uma das últimas `por_endereco` que ganharam um lugar
    abertas: int = 0  # conexões que têm um lugar
    relato: float = -math.inf  # quando uma recusa foi para o log


class Lugares:
    """Quem ocupa os `maximo` lugares do servidor. Exige a trava de quem o guarda.

    De um endereço, no máximo `por_endereco` conexões ao mesmo tempo, e outro tanto de novas em qualquer `JANELA`; 0 é
    sem limite, e `None`, um décimo do total, ao menos 10. Os `isentos` só encontram o limite total.
    """

    JANELA = 10.0
    """Segundos em que se contam as conexões novas de um endereço, e entre duas recusas dele no log."""

    def __init__(
        self, maximo: int, por_endereco: int | None, isentos: Iterable[str], relogio: Relogio = time.monotonic
    ) -> None:
        self.maximo = maximo
        self.por_endereco = max(10, maximo // 10) if por_endereco is None else por_endereco
        # Os últimos são de quem atende: cheio só de clientes, o servidor não serviria a ninguém.
        self.de_clientes = maximo - max(1, maximo // 20) if maximo > 1 else maximo
        self._isentos = {origem(endereco) for endereco in isentos}
        self._relogio = relogio
        self._ocupados: dict[Hashable, str] = {}  # conexão: a sua origem
        self._clientes: set[Hashable] = set()  # dessas conexões, as que disseram ser de clientes
        self._visitas: dict[str, _Visitas] = {}
        self._faxina = -math.inf  # quando se esqueceram as visitas antigas

    def __len__(self) -> int:
        return len(self._ocupados)

    def dar(self, conexao: Hashable, endereco: str) -> Fim | None:
        """Dá um lugar a quem chega; devolve o motivo, se não o dá."""
        de_onde, agora = origem(endereco), self._relogio()
        visitas = self._visitas_de(de_onde)
        if self.por_endereco and de_onde not in self._isentos:
            # Só se guardam tantas quanto podem ser: se a mais antiga delas é de há pouco, as outras também são.
            novas_demais = len(visitas.novas) == self.por_endereco and agora < visitas.novas[0] + self.JANELA
            if novas_demais or visitas.abertas >= self.por_endereco:
                return DEMAIS
        if len(self) >= self.maximo:
            return LOTADO
        self._ocupados[conexao] = de_onde
        visitas.abertas += 1
        visitas.novas.append(agora)
        return None

    def cabe_o_cliente(self, conexao: Hashable) -> bool:
        """A conexão disse que é de um cliente: conta-a entre eles, se ainda há lugares que não são de quem atende."""
        if len(self._clientes) < self.de_clientes:
            self._clientes.add(conexao)
        return conexao in self._clientes

    def vagar(self, conexao: Hashable) -> None:
        """A conexão deixa o seu lugar, se tinha um."""
        self._clientes.discard(conexao)
        if conexao in self._ocupados:
            self._visitas[self._ocupados.pop(conexao)].abertas -= 1

    def relatar(self, endereco: str) -> bool:
        """Diz se cabe no log mais uma recusa a este endereço: uma por janela, para que ninguém encha o disco."""
        visitas, agora = self._visitas_de(origem(endereco)), self._relogio()
        if agora < visitas.relato + self.JANELA:
            return False
        visitas.relato = agora
        return True

    def _visitas_de(self, de_onde: str) -> _Visitas:
        """As visitas de uma origem; e, uma vez por janela, esquece as que já não contam."""
        agora = self._relogio()
        ha_pouco = agora - self.JANELA
        if self._faxina <= ha_pouco:
            self._faxina = agora
            self._visitas = {
                origem: visitas
                for origem, visitas in self._visitas.items()
                if visitas.abertas or max((visitas.relato, *visitas.novas)) > ha_pouco
            }
        return self._visitas.setdefault(de_onde, _Visitas(deque(maxlen=self.por_endereco)))


# --- As senhas erradas --------------------------------------------------------------------------


class Senhas:
    """Que senha se confere agora, e quanto demora a recusa de uma errada. Exige a trava de quem a guarda.

    Enquanto uma recusa demora, nenhuma outra senha da mesma origem é conferida, nem a certa: se esta passasse à
    frente, a demora das outras já diria que estavam erradas, e bastaria não esperar por ela. Depois é a vez da que
    chegou primeiro: quem erra e volta fica atrás de quem já esperava.
    """

    PRIMEIRA, MAIOR = 1.0, 30.0
    """Segundos que a recusa demora: no primeiro erro e, dobrando a cada um, no máximo."""

    ESQUECER = 600.0
    """Segundos, depois da última recusa, em que se esquecem os erros."""

    OLHAR_A_CADA = 0.1
    """Segundos, ao menos, entre duas tentativas de quem espera: a da frente pode ainda não ter acordado."""

    LEMBRADAS = 10_000
    """Origens. Quem tem mais do que isso já não se atrasa por elas, e a memória tem de ter um limite."""

    def __init__(self, relogio: Relogio = time.monotonic) -> None:
        self._relogio = relogio
        # origem: (segundos que demora a última recusa, quando ela sai), do erro mais antigo ao mais novo
        self._erros: dict[str, tuple[float, float]] = {}
        self._esperam: dict[Hashable, str] = {}  # quem espera a vez: a sua origem; por ordem de chegada

    def conferir(self, quem: Hashable, endereco: str, certa: bool) -> tuple[bool, float]:
        """A senha de `quem`: se já é a vez dela, e quantos segundos esperar, para tentar de novo ou pela resposta."""
        agora, de_onde = self._relogio(), origem(endereco)
        demora, sai = self._erros.get(de_onde, (0.0, -math.inf))
        self._esperam.setdefault(quem, de_onde)
        primeiro = next(outro for outro, onde in self._esperam.items() if onde == de_onde)
        if agora < sai or quem is not primeiro:
            return False, max(sai - agora, self.OLHAR_A_CADA)
        self.desistir(quem)
        self._erros.pop(de_onde, None)  # para voltar ao fim, se for o caso
        if certa:
            return True, 0.0
        demora = min(2 * demora, self.MAIOR) if demora and agora < sai + self.ESQUECER else self.PRIMEIRA
        self._erros[de_onde] = demora, agora + demora
        if len(self._erros) > self.LEMBRADAS:
            del self._erros[next(iter(self._erros))]
        return True, demora

    def desistir(self, quem: Hashable) -> None:
        """Já não espera a vez, se esperava."""
        self._esperam.pop(quem, None)


# --- O ritmo ------------------------------------------------------------------------------------


class Ritmo:
    """Quantas linhas uma conexão pode mandar: um balde em que caem `por_segundo` fichas, e de que cada linha tira uma.

    Cheio, tem as de `FOLGA` segundos: quem cola um texto comprido não espera. Zero `por_segundo` é sem limite.
    """

    FOLGA = 10.0
    """Segundos."""

    PAUSA = 0.2
    """Segundos sem ler quem passa do ritmo."""

    def __init__(self, por_segundo: int, relogio: Relogio = time.monotonic) -> None:
        self._por_segundo = por_segundo
        self._relogio = relogio
        self._fichas, self._visto = self.FOLGA * por_segundo, relogio()

    def tirar(self, linhas: int) -> int:
        """Tira as fichas de até `linhas` linhas; devolve quantas passam já."""
        if not self._por_segundo:
            return linhas
        agora = self._relogio()
        ganhas = (agora - self._visto) * self._por_segundo
        self._fichas, self._visto = min(self._fichas + ganhas, self.FOLGA * self._por_segundo), agora
        passam = min(linhas, int(self._fichas))
        self._fichas -= passam
        return passam
